"""The answers to the exercises, on a text and a network small enough for a second."""

import math
from pathlib import Path

import pytest
from graph import ROOT
from tiny import make_project, run_script, run_stage, tiny_params, tiny_text, write_params

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "exercises.py"


def project(folder: Path, **changes: float) -> None:
    """Put a corpus, and a small base recipe with some changes, into a folder."""
    make_project(folder)
    run_stage(folder, "download", "timemachine")
    run_stage(folder, "preprocess")
    content = tiny_params()
    small = content["train_rnn"]["carried"] | {"implementation": "concise"}
    content["train_rnn"]["e1_concise_sequential"] = small | changes
    write_params(folder, content)


def answers(
    folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the cells of both tables by the first cell of their row."""
    capsys.readouterr()
    run_script(folder, SCRIPT, "--epochs", "2", *options)
    printed, progress = capsys.readouterr()
    assert "base: 2/2 epochs" in progress
    heading, changes, sampling_heading, alphas = printed.split("\n\n")
    assert "threads, torch" in heading
    assert "64 rows" in sampling_heading
    tables = [[line.strip("| ").split(" | ") for line in t.splitlines()[2:]] for t in (changes, alphas)]
    first, second = ({first: cells for first, *cells in table} for table in tables)
    return first, second


def test_every_change_has_finite_perplexities_and_times_and_every_alpha_its_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    (tmp_path / "other.txt").write_text(tiny_text(500))
    changes, alphas = answers(tmp_path, capsys, "--text", "other.txt")
    assert len(changes) == 10
    assert list(changes)[-1] == "another book: other.txt"
    for cells in changes.values():
        train, val, seconds, ratio = map(float, cells)
        assert 1 < train < 40
        assert 1 < val < 40
        assert 0 < seconds < math.inf
        assert 0 < ratio < math.inf
    assert next(iter(changes.values()))[-1] == "1.00"
    assert list(alphas) == ["the book itself", "0.5", "1", "2", "4", "inf"]
    assert alphas["the book itself"][0] == "100%"
    nats = [float(cells[2]) for cells in list(alphas.values())[1:]]
    assert nats == sorted(nats, reverse=True)


def test_a_row_that_diverges_and_one_without_a_text_say_so_and_the_others_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, lr=100_000.0)
    changes, alphas = answers(tmp_path, capsys, "--text", "absent.txt")
    assert changes["ReLU instead of tanh"] == ["diverges in epoch 1", "–", "–", "–"]
    assert float(changes["3 layers"][0]) > 1
    assert changes["another book: absent.txt"] == ["absent.txt: no such file", "–", "–", "–"]
    assert len(alphas) == 6


def test_a_wrong_option_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path)
    with pytest.raises(SystemExit, match="exercises: error: e1_concise_sequential: num_epochs: 0 should be"):
        run_script(tmp_path, SCRIPT, "--epochs", "0")
