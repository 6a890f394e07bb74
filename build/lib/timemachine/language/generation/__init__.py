"""Generation of text by language models."""
