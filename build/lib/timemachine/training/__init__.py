"""One loop for every model, and its checkpoints."""
