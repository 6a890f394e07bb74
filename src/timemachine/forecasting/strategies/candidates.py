"""All forecasters that need no training, by name, their lags and penalties chosen on what was observed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import ridge
from timemachine.forecasting.strategies.backtest import choose
from timemachine.forecasting.strategies.baselines import last_value, mean, seasonal_naive
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.strategies import STRATEGIES, Forecaster, by_series, recursive

Array = NDArray[np.float64]
Lags = tuple[int, float]

CLOSED_FORM = ("least_squares", "ridge")
CANDIDATES = (
    "last_value",
    "mean",
    "seasonal_naive",
    "harmonic",
    *(f"{strategy}_{model}" for model in CLOSED_FORM for strategy in STRATEGIES),
)


@dataclass(frozen=True)
class Choice:
    """By which rolling origins of the observed part a choice is made, and among what.

    Attributes:
        first: the first origin; the others follow to the end of the observed part.
        horizon: how many steps ahead the forecasts are compared.
        num_folds: groups of origins, before each of which everything is fitted anew.
        taus: embedding dimensions; those above half of `first` are left out.
        penalties: of ridge regression.
        max_harmonics: of harmonic regression, which chooses by BIC.
    """

    first: int
    horizon: int
    num_folds: int
    taus: Sequence[int]
    penalties: Sequence[float]
    max_harmonics: int

    def lags(self, model: str) -> list[Lags]:
        """Return all pairs of τ and penalty that a model may have, τ rising."""
        penalties = self.penalties if model == "ridge" else [0.0]
        return [(tau, penalty) for tau in sorted(self.taus) if 2 * tau <= self.first for penalty in penalties]

    def choose_lags(self, x: Array, model: str) -> tuple[list[Lags], dict[Lags, Array]]:
        """Choose τ and penalty of the recursive forecast for each of the observed series x (num_series, T).

        Returns:
            The choices, one for each series, and the scores (num_series,) of all pairs.

        Raises:
            UserError: every τ is too long for the series.
        """
        recursions = {(tau, penalty): recursive(ridge(penalty), tau) for tau, penalty in self.lags(model)}
        if not recursions:
            raise UserError(f"no tau of {list(self.taus)} is at most half of the first {self.first} observations")
        return choose(recursions, x, self.first, self.horizon, self.num_folds)


def candidates(
    x: Array, choice: Choice, output_chunk_length: int, names: Collection[str] = CANDIDATES
) -> dict[str, Forecaster]:
    """Return forecasters by name.

    All strategies of a model have the lags that serve its recursive forecast best, so that they differ in nothing
    but the strategy.

    Args:
        x: (num_series, T) the observed parts, from which lags and penalties are chosen; a τ for each series.
        choice: how.
        output_chunk_length: steps that direct and multi-output strategies forecast at a time.
        names: which of `CANDIDATES` are wanted.
    """
    plain = {
        "last_value": last_value,
        "mean": mean,
        "seasonal_naive": seasonal_naive,
        "harmonic": harmonic(choice.max_harmonics),
    }
    found = {name: forecaster for name, forecaster in plain.items() if name in names}
    for model in CLOSED_FORM:
        wanted = [strategy for strategy in STRATEGIES if f"{strategy}_{model}" in names]
        if wanted:
            chosen, _ = choice.choose_lags(x, model)
            distinct = sorted(set(chosen))
            index = np.array([distinct.index(lags) for lags in chosen])
            for strategy in wanted:
                make = STRATEGIES[strategy]
                forecasters = [make(ridge(penalty), tau, output_chunk_length) for tau, penalty in distinct]
                found[f"{strategy}_{model}"] = by_series(forecasters, index)
    return {name: found[name] for name in CANDIDATES if name in found}
