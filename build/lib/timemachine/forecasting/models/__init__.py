"""Autoregressive models and regression in closed form. Gradient descent is in `forecasting/training`."""
