"""Training of recurrent language models."""
