"""Draw the forecast of a series of your own, and how earlier forecasts compare with what came."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.plots.figure import Array, add_legend, new_figure

_LABELS = ("earlier forecasts", "_")  # matplotlib leaves the second one out of the legend


def draw_own_forecast(
    title: str,
    panels: tuple[str, str],
    ylabel: str,
    t: NDArray[np.generic],
    x: Array,
    forecast: Array,
    interval: tuple[str, Array, Array] | None,
    rolling: Sequence[tuple[int, Array]],
) -> Figure:
    """Draw a series and its forecast, and below it the last rolling forecasts and the values they were for.

    Args:
        title: title of the figure.
        panels: titles of both panels.
        ylabel: name of the values.
        t: (n + horizon,) times, of the series and the forecast.
        x: (n,) the values to draw.
        forecast: (horizon,) values after the end of x.
        interval: label, lower and upper bounds (horizon,); None for none.
        rolling: for each earlier forecast, the index in x of its first value, and its values.
    """
    figure = new_figure(title, height=6)
    above, below = figure.subplots(2, 1)
    place = t if t.dtype.kind in "iuf" else np.arange(len(t))
    # From the last value on, so that a forecast of one step is visible.
    ahead, middle = place[len(x) - 1 :], np.concatenate([x[-1:], forecast])
    above.plot(place[: len(x)], x, color="0.4", lw=0.8, label="series")
    if interval is not None:
        label, lower, upper = interval
        bounds = (np.concatenate([x[-1:], values]) for values in (lower, upper))
        above.fill_between(ahead, *bounds, color="C0", alpha=0.25, lw=0, label=label)
    above.plot(ahead, middle, color="C0", label="forecast")
    first = min((begin for begin, _ in rolling), default=0)
    shown = slice(max(0, first - max(len(forecast), 4)), len(x))
    below.plot(place[shown], x[shown], color="0.4", lw=0.8)
    for i, (begin, values) in enumerate(rolling):
        where = place[begin - 1 : begin + len(values)]
        below.plot(where, np.concatenate([x[begin - 1 : begin], values]), color="C4", ls="-", label=_LABELS[i > 0])
        below.axvline(place[begin - 1], color="0.3", ls=":", lw=0.8)
    for axes, name, last in ((above, panels[0], len(t)), (below, panels[1], len(x))):
        axes.set(title=name, ylabel=fill(ylabel, 26), xlabel="time")
        if t.dtype.kind not in "iuf":
            _label_times(axes, t, 0 if axes is above else shown.start, last)
    add_legend(figure)
    return figure


def _label_times(axes: Axes, t: NDArray[np.generic], first: int, end: int) -> None:
    num_characters, last = t.dtype.itemsize // np.dtype("<U1").itemsize, end - 1 - first
    most = 4 if num_characters <= 10 else 2 if num_characters < 20 else 1  # spaces between labels
    # Few places have labels only where these are equally far apart, so that no label is over another one.
    number = next((n for n in range(most, 1, -1) if last >= 8 * most or last % n == 0), 1)
    chosen = first + np.linspace(0, last, number + 1).astype(int)
    axes.set_xticks(chosen, [str(t[i]) for i in chosen])
    if num_characters > 10:
        labels = axes.get_xticklabels()
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
