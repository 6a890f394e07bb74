"""Configuration of generated text."""

from typing import Annotated

from pydantic import Field

from timemachine.base.config import Count, Positive, Section, Seed, Text

Share = Annotated[float, Field(gt=0, le=1)]


class Sampling(Section):
    """How the next token is chosen from the distribution P; by default it is drawn from P.

    Attributes:
        alpha: draw from P^α, renormalised. 1 is P itself, ∞ is greedy (argmax). The temperature is 1 / α.
        top_k: draw only from the k most probable tokens.
        top_p: draw only from the smallest set of most probable tokens whose total probability is at least this
            (nucleus sampling; Holtzman et al., 2020).
    """

    alpha: Annotated[float, Field(gt=0)] = 1.0
    top_k: Count | None = None
    top_p: Share | None = None


class Prefix(Section):
    """A prefix to continue: greedily, or with `alpha` by draws from P^α, optionally cut by `top_k` and `top_p`."""

    prefix: Text
    num_preds: Annotated[int, Field(ge=1, le=100_000)] = 50
    alpha: Positive | None = None
    top_k: Count | None = None
    top_p: Share | None = None
    seed: Seed = 0

    @property
    def sampling(self) -> Sampling:
        """How each token is chosen."""
        return Sampling(alpha=self.alpha or float("inf"), top_k=self.top_k, top_p=self.top_p)
