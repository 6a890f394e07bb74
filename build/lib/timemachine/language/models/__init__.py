"""Recurrent language models: modules, recipes and checkpoints."""
