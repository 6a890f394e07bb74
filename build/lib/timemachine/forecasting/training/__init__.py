"""Training of autoregressive models, one at a time or many side by side."""
