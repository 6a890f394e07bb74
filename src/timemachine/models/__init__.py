"""Autoregressive and recurrent modules; nothing here trains or reads files."""
