"""The table of compressors and language models, with a compressor that stands for zpaq."""

import bz2
import json
from pathlib import Path

import pytest
from graph import ROOT
from tiny import make_project, run_script, tiny_text

from timemachine.text.preparation.prepare import build_corpus
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

SCRIPT = ROOT / "benchmarks" / "compressors.py"
RAW = tiny_text()


def put_command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Set PATH to a folder with a command `zpaq`, which runs a line of shell, and no other compressor."""
    (folder / "bin").mkdir()
    command = folder / "bin" / "zpaq"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))


def save_corpus(folder: Path) -> Corpus:
    """Save the tiny text as the corpus `whole`."""
    corpus = build_corpus(
        RAW,
        cleaning="whole",
        level="char",
        order="frequency",
        min_freq=0,
        reserved_tokens=[],
        fractions=(0.8, 0.1, 0.1),
    )
    corpus.save(folder / "data/text/whole")
    return corpus


def save_report(folder: Path, num_tokens: dict[str, int]) -> None:
    """Save a report of a model that needs half a bit per character."""
    parts = {part: {"bits_per_character": 0.5, "tokens": num_tokens[part]} for part in HELD_OUT}
    infinite = {part: scores | {"bits_per_character": None} for part, scores in parts.items()}
    (folder / "data/results").mkdir()
    models = {"unseen": infinite, "context_mixing": parts}
    (folder / "data/results/language_models.json").write_text(json.dumps({"models": models}))


def table(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, list[str]], str]:
    """Return the cells by the name of the row, and the last line."""
    *rows, _, last = capsys.readouterr().out.splitlines()
    return {name: cells for name, *cells in (row.strip("| ").split(" | ") for row in rows[2:])}, last


def test_compressors_and_models_stand_in_one_table_the_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = save_corpus(tmp_path)
    save_report(tmp_path, {part: len(corpus.part(part)) for part in HELD_OUT})
    put_command(tmp_path, monkeypatch, "/bin/cp text archive.zpaq")
    run_script(tmp_path, SCRIPT)
    rows, missing = table(capsys)
    assert next(iter(rows)) == "context_mixing"
    assert rows["zpaq -m5 (compressor)"] == ["8.000", "8.000"]
    text = corpus.tokenizer.decode(corpus.tokens.tolist()).encode()
    begin, end = corpus.split["test"]
    grown = len(bz2.compress(text[:end])) - len(bz2.compress(text[:begin]))
    assert rows["bz2 (compressor)"][1] == f"{8 * grown / (end - begin):.3f}"
    assert list(rows)[-1] == "unseen"
    assert missing.startswith("not found: ")
    assert missing.endswith("lpaq1")


def test_a_raw_text_is_cleaned_and_split_as_the_corpus_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    save_corpus(tmp_path)
    (tmp_path / "raw.txt").write_text(RAW)
    put_command(tmp_path, monkeypatch, "/bin/cp text archive.zpaq")
    run_script(tmp_path, SCRIPT)
    of_folder = table(capsys)
    run_script(tmp_path, SCRIPT, "--text", "raw.txt")
    assert table(capsys) == of_folder


def test_a_report_of_another_corpus_and_a_command_that_fails_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_corpus(tmp_path)
    put_command(tmp_path, monkeypatch, "echo no memory >&2; exit 2")
    with pytest.raises(SystemExit, match=r"zpaq add .*failed with exit code 2: no memory"):
        run_script(tmp_path, SCRIPT)
    save_report(tmp_path, {"val": 1, "test": 1})
    with pytest.raises(SystemExit, match=r"compressors: error: .*language_models\.json: .*another corpus"):
        run_script(tmp_path, SCRIPT)
