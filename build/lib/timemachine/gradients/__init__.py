"""The study of backpropagation through time."""
