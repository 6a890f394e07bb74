"""Forecasters, and backtests from rolling origins that choose between them."""
