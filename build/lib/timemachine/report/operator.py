"""What an operator looks for: the rounds of retraining, and who is champion since when."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from timemachine.retraining.history import Round

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 320, 56, 96, 20, 44  # pixels of the chart and its margins
_NUM_TICKS = 5
_MAX_LABELS = 12  # dates below the chart


def serving_since(rounds: Sequence[Round]) -> tuple[str, str] | None:
    """Return the version that is champion after the last round, and when it became so; None if there is none."""
    if not rounds or not (serving := rounds[-1].serving):
        return None
    since = rounds[-1].when
    for one in reversed(rounds):
        if one.serving != serving:
            break
        since = one.when
    return serving, since


def chart(rounds: Sequence[Round]) -> dict[str, Any] | None:
    """Return the places of the chart of rounds: bits per character, lower is better, from round to round.

    Returns:
        `marks` of the challengers with their verdict, `champion` and `baseline` as paths of SVG, `ticks` and
        `labels` of the axes; None if no round has a score.
    """
    scores = [
        score for one in rounds for score in (one.challenger, one.champion, one.baseline) if score is not None
    ]
    if not scores:
        return None
    low, high = min(scores), max(scores)
    margin = 0.12 * (high - low) or 0.05
    low, high = low - margin, high + margin
    room = (_WIDTH - _LEFT - _RIGHT) / len(rounds)

    def x(i: float) -> float:
        return round(_LEFT + room * (i + 0.5), 1)

    def y(score: float) -> float:
        return round(_TOP + (high - score) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    after = [one.challenger if one.verdict == "promoted" else one.champion for one in rounds]
    champion = _steps([(x(i - 0.5), x(i), x(i + 0.5)) for i in range(len(rounds))], after, y)
    baselines = [f"{x(i)} {y(one.baseline)}" for i, one in enumerate(rounds) if one.baseline is not None]
    every = math.ceil(len(rounds) / _MAX_LABELS)
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "bottom": _HEIGHT - _BOTTOM,
        "champion": champion,
        "baseline": f"M{'L'.join(baselines)}" if baselines else "",
        "champion_end": next((y(score) for score in reversed(after) if score is not None), None),
        "baseline_end": next((y(one.baseline) for one in reversed(rounds) if one.baseline is not None), None),
        "marks": [
            {"x": x(i), "y": y(score), "score": score, "round": one}
            for i, one in enumerate(rounds)
            if (score := one.champion if one.verdict == "rolled back" else one.challenger) is not None
        ],
        "ticks": [(y(score), f"{score:.3f}") for score in _ticks(low, high)],
        "labels": [(x(i), one.when[:10]) for i, one in enumerate(rounds) if i % every == 0],
    }


def _steps(
    places: list[tuple[float, float, float]], scores: Sequence[float | None], y: Callable[[float], float]
) -> str:
    """Return the line of the champion: its score after a round from the mark of that round to the next mark."""
    path = ""
    for (left, middle, right), before, after in zip(places, [None, *scores], scores, strict=False):
        for score, start, end in ((before, left, middle), (after, middle, right)):
            if score is not None:
                path += f"{'L' if path else 'M'}{start} {y(score)}L{end} {y(score)}"
    return path


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / _NUM_TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]
