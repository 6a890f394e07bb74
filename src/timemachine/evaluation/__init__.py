"""Perplexity, generated text and forecast errors."""
