"""A reproducible data-and-training pipeline for sequence models."""
