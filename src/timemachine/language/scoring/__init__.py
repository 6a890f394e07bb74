"""Scores of language models on text, and how sure they are."""
