"""Make or read a time series, embed it, forecast it."""
