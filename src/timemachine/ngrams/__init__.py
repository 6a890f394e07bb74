"""Count n-grams, fit Zipf's law, smooth and chain probabilities."""
