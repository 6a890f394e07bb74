"""n-gram counts, statistics and language models."""
