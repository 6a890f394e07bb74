"""Fetch, clean, index and sample a text."""
