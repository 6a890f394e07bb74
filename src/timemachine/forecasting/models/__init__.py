"""Autoregressive models and regression in closed form; nothing here trains by gradient descent."""
