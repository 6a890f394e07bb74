"""The forecasting wing: series, models, strategies and their evaluation."""
