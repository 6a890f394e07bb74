"""Fetch, clean, number and batch a text."""
