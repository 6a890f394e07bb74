"""Forecasts of a series of your own beyond its end."""
