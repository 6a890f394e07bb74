"""The strategies that forecast a series of your own, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.candidates import CANDIDATES, candidates
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, lag_forecaster
from timemachine.forecasting.strategies.pool import Candidate, few_candidates, many_candidates
from timemachine.forecasting.strategies.transforms import logged

# Direct and multi-output strategies forecast at a time at most so many steps, and a quarter of the points before
# the first rolling origin, so that enough training pairs remain.
_LONGEST_CHUNK = 64
_NUM_FOLDS = 12


def named_strategy(
    name: str,
    x: Array,
    first: int,
    num_steps: int,
    seasons: Sequence[int],
    log: bool | None,
    recipes: Mapping[str, ArRecipe],
) -> Candidate:
    """Return a strategy by its name.

    Args:
        name: a candidate of `pool`; one of `CANDIDATES`, whose lags are then chosen by rolling origins; or
            `<lag strategy>_<entry of recipes>`. With `log`, log_ may be left out.
        x: (T,) the series.
        first: the first rolling origin.
        num_steps: number of steps ahead at these origins.
        seasons: `seasons_of` the series.
        log: whether to forecast logarithms; None if the name says so.
        recipes: entries of `train_ar`.

    Raises:
        UserError: there is no such strategy.
    """
    if log:
        of_logs = named_strategy(name.removeprefix("log_"), np.log(x), first, num_steps, seasons, False, recipes)
        return replace(of_logs, forecaster=logged(of_logs.forecaster), in_logs=True)
    known = few_candidates(seasons, log) | many_candidates(x[:first], len(x), seasons, log)
    if name in known:
        return known[name]
    chunk = max(1, min(num_steps, _LONGEST_CHUNK, first // 4))
    if name in CANDIDATES:
        num_validation = len(x) - first
        p = BacktestParams.model_construct(
            num_observed=len(x), num_validation=num_validation, horizon=num_steps, num_seeds=1, trained={}
        )
        return Candidate(candidates(x[None], p, ChooseTauParams(), chunk, [name])[name], name, _NUM_FOLDS)
    trained = {f"{strategy}_{entry}": (strategy, entry) for strategy in LAG_STRATEGIES for entry in recipes}
    if name not in trained:
        names = dict.fromkeys([*known, *CANDIDATES, *trained])
        raise UserError(f"unknown strategy; choose from {', '.join(names)}")
    # Imported here: torch takes two seconds.
    from timemachine.forecasting.training.side_by_side import trained_regressor

    strategy, entry = trained[name]
    recipe = recipes[entry].model_copy(update={"standardize": True})
    return Candidate(lag_forecaster(strategy, trained_regressor(recipe), recipe.tau, chunk), name, _NUM_FOLDS)
