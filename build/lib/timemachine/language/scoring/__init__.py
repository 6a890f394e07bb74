"""Scores of language models on text, and their confidence intervals."""
