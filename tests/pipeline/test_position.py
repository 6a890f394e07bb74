"""The number of a stage in the pipeline."""

from pathlib import Path

import pytest
from graph import ROOT

from timemachine.pipeline import params
from timemachine.pipeline.position import position

PARAMS = params.load(ROOT / "params.yaml")


def test_the_last_stage_is_the_number_of_all() -> None:
    first, last = (position(name, PARAMS, ROOT / "dvc.yaml") for name in ("check", "publish"))
    assert last is not None
    assert last[0] == last[1] > len(PARAMS.train_ar) + 2 * len(PARAMS.train_rnn)
    assert first == (1, last[1])
    assert position("nope", PARAMS, ROOT / "dvc.yaml") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stages: {a: {cmd: b}, s: {foreach: [x, 1], do: {cmd: b}}}", (3, 3)),
        ("stages: {s: {foreach: {x: {y: 2}, 1: {}}, do: {cmd: b}}, a: {cmd: b}}", (2, 3)),
        ("stages: {s: {foreach: '${dynamic_evaluation.models}', do: {cmd: b}}, s@1: {cmd: b}}", (2, 2)),
        ("stages: {s@1: {cmd: b}, a: {matrix: {x: [1, 2]}, cmd: b}}", None),
        ("stages: {s@1: {cmd: b}, a: {foreach: '${a.b}', do: {cmd: b}}}", None),
        ("stages: {s@1: {cmd: b}, a: {foreach: '${train_rnn[0]}', do: {cmd: b}}}", None),
        ("stages: {s@1: {cmd: b}, a:", None),
        ("stages:", None),
        ("", None),
    ],
)
def test_a_graph_of_other_stages_has_their_numbers_or_none(
    text: str, expected: tuple[int, int] | None, tmp_path: Path
) -> None:
    assert position("s@1", PARAMS, tmp_path / "dvc.yaml") is None
    (tmp_path / "dvc.yaml").write_text(text)
    assert position("s@1", PARAMS, tmp_path / "dvc.yaml") == expected
