from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from tiny import run_stage

from timemachine.plots import figure as plots_figure
from timemachine.plots.figure import draw_lines, save_figure
from timemachine.plots.forecasting import draw_fan, draw_time_series
from timemachine.plots.gradients import draw_segments
from timemachine.plots.language import draw_ranking, draw_transition_matrices


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = draw_lines({"l": ([1, 2], [3.0, 4.0])}, "title", "x", "y", {"level": 3.5}, "xy")
        save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[:2] == (600, 960)  # 6.4 × 4 inches of 150 dots


DRAWING = [
    "ngrams",
    "ngram_models",
    "series",
    "evaluate_forecast",
    "draw_forecasts",
    "draw_language_models",
    "learning_curves",
    "draw_gradients",
]


def drawn_by(folder: Path, stages: list[str]) -> Iterator[tuple[str, Figure]]:
    """Run stages, and yield the figures that they write, laid out as in their files."""
    drawn = []

    def keep(figure: Figure, path: Path) -> None:
        drawn.append((path.stem, figure))
        figure.draw_without_rendering()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(plots_figure, "save_figure", keep)
        for stage in stages:
            run_stage(folder, stage)
    return iter(drawn)


def test_all_figures_have_a_title_and_axis_labels_and_nothing_stands_on_anything_else(project: Path) -> None:
    figures = list(drawn_by(project, DRAWING))
    assert len(figures) == sum(1 for _ in project.glob("data/reports/figures/*/*.png"))
    for name, figure in figures:
        assert figure.get_suptitle(), name
        shown = [axes for axes in figure.axes if axes.axison]
        for axes in shown:
            assert axes.get_ylabel() or figure.get_supylabel(), name
            common = figure.get_supxlabel() or not axes.xaxis.get_tick_params().get("labelbottom", True)
            assert axes.get_xlabel() or common or axes.get_label() == "<colorbar>", name
        # The legend, the title and the panels with their labels stand side by side, inside the figure.
        others = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
        boxes = [axes.get_tightbbox() for axes in shown] + [other.get_window_extent() for other in others]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]), name
        assert all(figure.bbox.containsx(x) for box in boxes for x in (box.x0, box.x1)), name
        assert all(figure.bbox.containsy(y) for box in boxes for y in (box.y0, box.y1)), name


def test_curves_stand_at_the_times_they_are_given() -> None:
    t, x = np.arange(1, 11), np.arange(10.0)
    data, ahead, first_forecast = (
        draw_time_series("title", t, {"data": (0, x), "k = 4": (3, x[3:])}, 6).axes[0].lines
    )
    assert data.get_xdata().tolist() == t.tolist()
    assert ahead.get_xdata()[0] == 4
    assert first_forecast.get_xdata() == [7, 7]


def test_dates_label_an_axis_of_steps() -> None:
    t = np.array([f"2024-01-{day:02}" for day in range(1, 21)])
    for times in (t, np.array([f"{day}T00:00:00" for day in t])):
        figure = draw_time_series("title", times, {"data": (0, np.arange(20.0))})
        figure.draw_without_rendering()
        labels = figure.axes[0].get_xticklabels()
        assert [labels[0].get_text(), labels[-1].get_text()] == [times[0], times[-1]]
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_a_fan_stands_at_its_times_may_reach_beyond_the_series_and_shows_a_single_step() -> None:
    t, x = np.arange(10, 30), np.arange(16.0)
    bands = {0.9: np.full(4, 2.0), 0.5: np.full(4, 1.0)}
    one = (15, np.full(1, 9.0), {0.9: np.full(1, 2.0)})
    axes = draw_fan(
        "title", t, x, [(4, np.full(4, 5.0), bands), (16, np.full(4, 7.0), bands), one], "harmonic"
    ).axes[0]
    data, within, first, beyond, _, single, _ = axes.lines
    assert first.get_xdata() == [14, 14]
    assert data.get_xdata().tolist() == t[:16].tolist()
    assert within.get_xdata().tolist() == [14, 15, 16, 17]
    assert beyond.get_xdata().tolist() == [26, 27, 28, 29]
    assert beyond.get_ydata().tolist() == [7, 7, 7, 7]
    assert single.get_xydata().tolist() == [[24, 14], [25, 9]]
    heights = [band.get_paths()[0].get_extents().height for band in axes.collections]
    assert heights[0] == 4  # the wider band of the first lies behind its narrower one
    wider, narrower = (band.get_facecolor().sum() for band in axes.collections[:2])
    assert wider > narrower
    labels = [text.get_text() for text in axes.get_figure().legends[0].get_texts()]
    assert sorted(labels) == ["50 % interval", "90 % interval", "data", "first forecast", "harmonic"]


def test_a_ranking_has_the_best_on_top_and_intervals_that_may_be_points() -> None:
    ends = {"best": (1.5, 1.4, 1.7), "worst": (4.8, 4.8 + 1e-15, 4.8 + 1e-15)}
    keys = ("bits_per_character", "low", "high")
    models = {name: {"test": dict(zip(keys, values, strict=True))} for name, values in ends.items()}
    impossible = {"test": {"bits_per_character": None}}
    report = {"models": models | {"impossible": impossible}, "compressors": {"bz2": {"test": 2.1}}}
    axes = draw_ranking(report | {"best": "best", "best_checkpoint": "worst"}).axes[0]
    assert axes.get_title() == "best on the validation part: best\nbest with a checkpoint: worst"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "worst"]
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.child_axes[0].get_yticklabels()] == ["1.500", "4.800"]
    assert axes.get_figure().legends[0].get_texts()[0].get_text() == "bz2 2.100"


def test_a_text_is_cut_where_it_is_told_to() -> None:
    axes = draw_segments("abcdef", {"full": [], "truncated": [0, 4]}).axes[0]
    assert [round(patch.get_x()) for patch in axes.patches] == [0, 0, 4]
    assert [round(patch.get_width()) for patch in axes.patches] == [6, 4, 2]


def test_tokens_that_look_like_mathematics_are_drawn_as_they_are(tmp_path: Path) -> None:
    save_figure(draw_transition_matrices({1: np.eye(2)}, ["$\\frac$", "a"]), tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 0
