"""Errors and intervals of forecasts."""
