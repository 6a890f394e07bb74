"""Forecast many series, on all cores."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from timemachine.base import compute
from timemachine.base.config import ComputeParams
from timemachine.base.errors import UserError
from timemachine.forecasting.own.forecast import Forecast, Options, forecast_series
from timemachine.forecasting.series.own import OwnSeries

# The start of a process costs as much as the forecasts of a few series.
_SERIES_PER_PROCESS = 8


def forecast_many(
    series: Mapping[str, OwnSeries | UserError],
    horizon: int,
    options: Options,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Forecast | UserError]:
    """Forecast series by `forecast_series`, several at a time.

    Args:
        series: by id; errors are passed on.
        horizon: number of steps.
        options: as of `forecast_series`.
        show: reports progress: series done, their number, and "series".

    Returns:
        By id the forecast, or the error of a series that cannot be forecast.
    """
    one = partial(_forecast, horizon=horizon, options=options)
    num_processes = min(len(os.sched_getaffinity(0)), len(series) // _SERIES_PER_PROCESS)
    found: dict[str, Forecast | UserError] = {}

    def collect(results: "map[Forecast | UserError]") -> None:
        for name, result in zip(series, results, strict=True):
            found[name] = result
            show(len(found), len(series), "series")

    if num_processes < 2:
        collect(map(one, series.values()))
    else:
        with ProcessPoolExecutor(num_processes, get_context("spawn"), _use_one_thread) as executor:
            collect(executor.map(one, series.values(), chunksize=4))  # type: ignore[arg-type]
    return found


def _forecast(series: OwnSeries | UserError, horizon: int, options: Options) -> Forecast | UserError:
    if isinstance(series, UserError):
        return series
    try:
        return forecast_series(series.x, series.seasons, horizon, options)
    except UserError as error:
        return UserError(str(error))


def _use_one_thread() -> None:
    compute.set_up(ComputeParams(num_threads=1))
