"""All forecasters without training by gradient descent, by name; lags and penalties are chosen by backtests."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array, ridge
from timemachine.forecasting.strategies.backtest import choose_forecasters
from timemachine.forecasting.strategies.baselines import last_value, mean, seasonal_naive
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.harmonic import harmonic
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, Forecaster, by_series, lag_forecaster

Lags = tuple[int, float]

CLOSED_FORM = ("least_squares", "ridge")
WITHOUT_LAGS = ("last_value", "mean", "seasonal_naive", "harmonic")
CANDIDATES = (
    *WITHOUT_LAGS,
    *(f"{strategy}_{model}" for model in CLOSED_FORM for strategy in LAG_STRATEGIES),
)


@dataclass(frozen=True)
class Choice:
    """The rolling origins in the observed part that choose lags and penalties, and the values to choose from.

    Attributes:
        first: the first origin; all later ones up to the end of the observed part are used too.
        horizon: number of steps ahead over which forecasts are compared.
        num_folds: number of groups of origins; models are refitted before each group.
        taus: embedding dimensions; those above half of `first` are left out.
        penalties: penalties of ridge regression.
        max_harmonics: highest number of harmonics; harmonic regression chooses it by BIC.
    """

    first: int
    horizon: int
    num_folds: int
    taus: Sequence[int]
    penalties: Sequence[float]
    max_harmonics: int

    @classmethod
    def of(cls, backtest: BacktestParams, choose_tau: ChooseTauParams) -> "Choice":
        """Return the choice that these sections describe."""
        b, c = backtest, choose_tau
        return cls(b.first_validation, b.horizon, b.num_folds, c.taus, c.penalties, b.max_harmonics)

    def lags(self, model: str) -> list[Lags]:
        """Return all pairs of τ and penalty to choose from for a model of `CLOSED_FORM`, τ increasing."""
        penalties = self.penalties if model == "ridge" else [0.0]
        return [(tau, penalty) for tau in sorted(self.taus) if 2 * tau <= self.first for penalty in penalties]

    def choose_lags(self, x: Array, model: str) -> tuple[list[Lags], dict[Lags, Array]]:
        """Choose τ and penalty of the recursive forecast for each of the series x (num_series, T).

        Returns:
            The chosen pairs, one for each series, and the scores (num_series,) of all pairs.

        Raises:
            UserError: every τ is too long for the series.
        """
        recursions = {lags: lag_forecaster("recursive", ridge(lags[1]), lags[0]) for lags in self.lags(model)}
        if not recursions:
            raise UserError(f"no tau of {list(self.taus)} is at most half of the first {self.first} observations")
        return choose_forecasters(recursions, x, self.first, self.horizon, self.num_folds)


def candidates(
    x: Array, choice: Choice, output_chunk_length: int, names: Collection[str] = CANDIDATES
) -> dict[str, Forecaster]:
    """Return forecasters by name.

    All strategies of a model have the lags that are best for its recursive forecast, so that they differ only in
    the strategy.

    Args:
        x: (num_series, T) the observed parts; τ and penalty are chosen for each series.
        choice: how τ and penalty are chosen.
        output_chunk_length: number of steps that direct and multi-output strategies forecast at a time.
        names: the entries of `CANDIDATES` to return.

    Raises:
        UserError: a model has lags, and every τ is too long for the series.
    """
    found = dict(
        zip(WITHOUT_LAGS, (last_value, mean, seasonal_naive, harmonic(choice.max_harmonics)), strict=True)
    )
    for model in CLOSED_FORM:
        wanted = [strategy for strategy in LAG_STRATEGIES if f"{strategy}_{model}" in names]
        if wanted:
            chosen, _ = choice.choose_lags(x, model)
            distinct = sorted(set(chosen))
            index = np.array([distinct.index(lags) for lags in chosen])
            for strategy in wanted:
                forecasters = [
                    lag_forecaster(strategy, ridge(penalty), tau, output_chunk_length) for tau, penalty in distinct
                ]
                found[f"{strategy}_{model}"] = by_series(forecasters, index)
    return {name: found[name] for name in CANDIDATES if name in names}
