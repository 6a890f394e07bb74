"""Corpora of token indices, their vocabularies, and minibatches of them."""
