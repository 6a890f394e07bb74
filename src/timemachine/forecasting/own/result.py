"""What a forecast of your own series prints and writes: lines, a CSV file and a figure."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import write_text
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.own.forecast import Forecast

_NUM_ROLLING = 4


def output_path(path: Path, output: Path | None) -> Path:
    """Return where to write the forecast of the series at `path`; by default in the current folder.

    Raises:
        UserError: the output does not end in .csv, would overwrite the series, or is in a folder that cannot be
            written to.
    """
    chosen = Path(f"{path.name.partition('.')[0] or path.stem}_forecast.csv") if output is None else output
    if chosen.suffix != ".csv":
        raise UserError(f"{chosen}: the output must end in .csv; its figure ends in .png")
    if path.resolve() in (chosen.resolve(), figure_path(chosen).resolve()):
        raise UserError(f"{chosen}: the output would overwrite the series; choose another name")
    folder = next(parent for parent in chosen.resolve().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):  # said before the work, which may take minutes
        raise UserError(f"{chosen}: cannot be written: {folder} is not a folder that you can write to")
    return chosen


def figure_path(path: Path) -> Path:
    """Return the path of the figure of a forecast whose CSV is at `path`."""
    return path.with_suffix(".png")


def summary(found: Forecast, all_tried: bool = False) -> list[str]:
    """Return lines that say how the forecast was made and how large its errors were.

    Args:
        found: the forecast.
        all_tried: whether to rank all candidates that were tried.
    """
    num_origins, num_steps = found.rolling.shape
    width = max(map(len, ("this forecast", *(found.ranking if all_tried else found.strategies))))
    shown = list(found.ranking) if all_tried else list(found.strategies)
    shown += [name for name in ("last_value",) if name not in shown]
    lines = [
        f"season: {_seasons(found.seasons)}",
        f"mean absolute error over {num_origins} rolling origins, up to {steps(num_steps)} ahead:",
    ]
    if len(found.strategies) > 1:
        lines.append(
            f"  {'this forecast':<{width}}  {found.mae:#.4g}  mean of {len(found.strategies)}, chosen anew"
        )
    for name in shown:
        used = "  used" if name in found.strategies else ""
        lines.append(f"  {name:<{width}}  {found.ranking[name]:#.4g}{used}")
    if found.level is not None:
        known = (
            "not known, too few errors" if found.coverage is None else f"{found.coverage:.3f} at rolling origins"
        )
        lines.append(f"coverage of the intervals of level {found.level:g}: {known}")
    return lines


def write_table(
    path: Path, rows: Iterable[tuple[str | None, NDArray[np.generic], Forecast, int | None]], id_column: str = "id"
) -> None:
    """Write forecasts as CSV, with a column of ids where the series have one.

    Args:
        path: the file.
        rows: for each series its id, the times of the forecast (horizon,), the forecast, and the number of
            decimals to round to, None for all digits.
        id_column: the name of the column of ids.

    Raises:
        UserError: the folder cannot be written to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for i, (name, time, found, decimals) in enumerate(rows):
        columns = {"forecast": found.x}
        if found.lower is not None and found.upper is not None:
            columns |= {"lower": found.lower, "upper": found.upper}
        ids = [] if name is None else [name]
        if i == 0:
            writer.writerow([*([id_column] if ids else []), "time", *columns])
        for when, *values in zip(time.tolist(), *columns.values(), strict=True):
            writer.writerow([*ids, when, *(written(value, decimals) for value in values)])
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def written(value: float, decimals: int | None) -> str:
    """Return a number with so many decimals, or with all its digits."""
    if decimals is None:
        return repr(float(value))
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def draw(path: Path, name: str, value: str, time: NDArray[np.generic], x: Array, found: Forecast) -> None:
    """Draw the end of a series, its forecast, and the last rolling forecasts.

    Args:
        path: the PNG file.
        name: name of the series.
        value: name of its values.
        time: (T + horizon,) times of the series and of the forecast.
        x: (T,) the series.
        found: the forecast.

    Raises:
        UserError: the folder cannot be written to.
    """
    # Imported here: matplotlib takes half a second.
    from timemachine.plots.figure import save_figure
    from timemachine.plots.own_forecast import draw_own_forecast

    horizon, (num_origins, num_steps) = len(found.x), found.rolling.shape
    begins = [len(x) - i * num_steps for i in range(_NUM_ROLLING, 0, -1)]
    begins = [begin for begin in begins if begin - found.first >= 0] or [len(x) - num_origins]
    start = max(0, min(len(x) - max(4 * horizon, 60), begins[0] - num_steps))
    rolling = [(begin - start, found.rolling[begin - found.first][: len(x) - begin]) for begin in begins]
    interval = None
    if found.lower is not None and found.upper is not None and found.level is not None:
        interval = (f"{100 * found.level:g} % interval", found.lower, found.upper)
    season = f"season: {_seasons(found.seasons)}"
    panels = (
        fill(f"{_used(found.strategies)}; {season}", 80),
        f"Earlier forecasts, up to {steps(num_steps)} ahead, and the observed values",
    )
    title = f"{name}: forecast of {steps(horizon)}"
    figure = draw_own_forecast(title, panels, value, time[start:], x[start:], found.x, interval, rolling)
    try:
        save_figure(figure, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def steps(number: int) -> str:
    """Return a number of steps in words."""
    return f"{number} step{'s' if number > 1 else ''}"


def _seasons(seasons: Sequence[int]) -> str:
    return f"{' and '.join(map(str, seasons))} steps" if seasons else "none"


def _used(strategies: Sequence[str]) -> str:
    if len(strategies) == 1:
        return strategies[0]
    return f"Mean of {', '.join(strategies)}"
