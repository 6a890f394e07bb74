"""Forecast many series, on all cores."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import active_children, get_context, parent_process

from timemachine.base import compute
from timemachine.base.config import ComputeParams
from timemachine.base.errors import UserError
from timemachine.forecasting.own.forecast import Forecast, Options, forecast_series
from timemachine.forecasting.series.own import OwnSeries

# The start of a process costs as much as the forecasts of a few series.
_SERIES_PER_PROCESS = 8
_SERIES_PER_TASK = 4


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
    if num_processes < 2:
        for name, own in series.items():
            found[name] = one(own)
            show(len(found), len(series), "series")
        return found
    names = list(series)
    parts = [names[i : i + _SERIES_PER_TASK] for i in range(0, len(names), _SERIES_PER_TASK)]
    with ProcessPoolExecutor(num_processes, get_context("spawn"), _set_up_worker) as executor:
        others = active_children()
        # The workers start with SIGINT blocked: Ctrl-C reaches all processes of a terminal, but only this one
        # handles it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        tasks = [executor.submit(_forecast_part, one, [series[name] for name in part]) for part in parts]
        workers = [child for child in active_children() if child not in others]
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for part, task in zip(parts, tasks, strict=True):
                found |= zip(part, task.result(), strict=True)
                show(len(found), len(series), "series")
        except BaseException:
            for worker in workers:
                worker.terminate()  # the executor would finish all tasks first
            raise
    return found


def _forecast(series: OwnSeries | UserError, horizon: int, options: Options) -> Forecast | UserError:
    if isinstance(series, UserError):
        return series
    try:
        return forecast_series(series.x, series.seasons, horizon, options)
    except UserError as error:
        return UserError(str(error))


def _forecast_part(
    one: Callable[[OwnSeries | UserError], Forecast | UserError], part: list[OwnSeries | UserError]
) -> list[Forecast | UserError]:
    return [one(own) for own in part]


def _set_up_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compute.set_up(ComputeParams(num_threads=1))


def _end_with_parent() -> None:
    """Wait for the end of the parent process, which may have been killed, and end this process."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
