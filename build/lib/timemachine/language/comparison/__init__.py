"""Mixtures, ranking and comparison of all language models of a corpus."""
