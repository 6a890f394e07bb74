"""Counted language models and n-gram statistics."""
