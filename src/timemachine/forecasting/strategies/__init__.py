"""Forecasters: strategies of forecasting many steps, and rolling origins that choose among them."""
