"""Perplexity, the unit in which training and scoring report how well a model predicts a text."""

import math


def perplexity(nats: float) -> float:
    """Return exp(nats per token), at most 1e100, so that the values of a diverging model can be drawn."""
    return min(math.exp(min(nats, 700.0)), 1e100)
