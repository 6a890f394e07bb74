"""Your own text: the command that adds it, and the pipeline that reads it."""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from graph import ROOT
from repository import Repository
from tiny import random_text
from typer.testing import CliRunner

from timemachine import cli
from timemachine.base.errors import UserError
from timemachine.text.tokens.corpus import Corpus

GUTENBERG = """The Project Gutenberg eBook of A Book

*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***

{}
*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***

Updated editions will replace the previous one.
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the params.yaml of this project and an own text, as the working directory."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "data/own").mkdir(parents=True)
    (tmp_path / "data/own/book.txt").write_text(random_text(1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["add-text", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def read(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "params.yaml").read_text()))


def test_a_text_is_three_entries_in_the_layout_of_dvc_and_no_other_line_changes(folder: Path) -> None:
    before = (folder / "params.yaml").read_text()
    said = add("data/own/book.txt", "--name", "book")
    sha256 = hashlib.sha256((folder / "data/own/book.txt").read_bytes()).hexdigest()
    assert f"texts.book: 6,000 bytes, SHA-256 {sha256}" in said
    after = (folder / "params.yaml").read_text()
    orders = next(line for line in before.splitlines() if "words: 4}" in line)
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    assert [line for line in changes if not line.startswith(("---", "+++", "@@"))] == [
        "+  book:",
        "+    sources:",
        "+    - data/own/book.txt",
        f"+    sha256: {sha256}",
        "+    book: {texts: [book], cleaning: whole, level: char, order: sorted}",
        f"-{orders}",
        f"+{orders.replace('words: 4', 'words: 4, book: 6')}",
    ]
    apply_overrides(folder / "params.yaml", ["train_rnn.lstm.seed=0"])  # what `dvc exp run -S` calls
    assert (folder / "params.yaml").read_text() == after
    assert list(read(folder)["texts"]) == ["timemachine", "book"]


def test_shards_a_licence_an_encoding_and_a_name_of_digits_are_written(folder: Path) -> None:
    for shelf, name in (("a", "one"), ("b", "two")):
        (folder / shelf).mkdir()
        (folder / f"{shelf}/{name}.txt").write_text(GUTENBERG.format(f"caf\xe9 {random_text(2)}"), "utf-16")
    said = add("[ab]/*.txt", "--name", "1984", "--encoding", "utf-16")
    assert "2 files, " in said
    assert "header and footer (licence: gutenberg)" in said
    content = read(folder)
    entry = content["texts"]["1984"]
    assert (entry.pop("sha256"), entry)[1] == {
        "sources": ["[ab]/*.txt"],
        "encoding": "utf-16",
        "licence": "gutenberg",
    }
    assert content["preprocess"]["corpora"]["1984"]["texts"] == ["1984"]
    assert content["ngram_models"]["corpora"]["1984"] == 6


@pytest.mark.parametrize("flow", [True, False])
def test_a_text_is_added_to_sections_in_flow_style(flow: bool, folder: Path) -> None:
    before = yaml.safe_dump(read(folder), default_flow_style=flow, sort_keys=False)
    (folder / "params.yaml").write_text(before.replace("whole: 8", "# order\n whole: 8") if flow else before)
    add("data/own/book.txt", "--name", "book")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("book: 6}", "book: 6, # own\n  }"))
    add("data/own/book.txt", "--name", "1984")
    assert [entry["sources"] for entry in read(folder)["texts"].values()][1:] == 2 * [["data/own/book.txt"]]
    assert list(read(folder)["ngram_models"]["corpora"].items())[2:] == [("book", 6), ("1984", 6)]


def test_replace_renews_source_and_hash_only(folder: Path) -> None:
    add("data/own/book.txt", "--name", "book")
    before = (folder / "params.yaml").read_text()
    add("data/own/book.txt", "--name", "book", "--replace")
    assert (folder / "params.yaml").read_text() == before
    old = read(folder)["texts"]["book"]["sha256"]
    (folder / "data/own/other.txt").write_text(random_text(3))
    add("data/own/other.txt", "--name", "book", "--replace")
    new = read(folder)["texts"]["book"]["sha256"]
    assert (folder / "params.yaml").read_text() == before.replace("own/book", "own/other").replace(old, new)
    assert new == hashlib.sha256(random_text(3).encode()).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.txt", "--name", "b"], "absent.txt: No such file"),
        (["data/own/*.md", "--name", "b"], "data/own/*.md: no file matches"),
        (["data/own/empty.txt", "--name", "b"], "data/own/empty.txt: it is empty"),
        (["data/own/latin.txt", "--name", "b"], "data/own/latin.txt: not UTF-8 at byte 3"),
        (["data/own/page.txt", "--name", "b"], "data/own/page.txt: this is HTML"),
        (
            ["data/own/marked.txt", "--name", "b"],
            "remove it from the file, or add all of the file with --licence none",
        ),
        (["data/own/book.txt", "--name", "My Book"], "--name: 'My Book' is not a name"),
        (["data/own/book.txt", "--name", "timemachine"], "--name: params.yaml has a text 'timemachine'"),
        (["data/own/book.txt", "--name", "whole"], "--name: params.yaml has a corpus 'whole'"),
        (["data/own/book.txt", "--name", "b", "--replace"], "has no text 'b'; known: timemachine"),
        (["data/own/book.txt", "--name", "b", "--encoding", "rot13"], "texts.b: encoding: 'rot13' is no encoding"),
        (["https://h/x", "--name", "b"], "https://h/x: a URL; give a file"),
    ],
)
def test_what_is_no_text_or_has_a_wrong_name_is_refused_and_params_stay(
    arguments: list[str], words: str, folder: Path
) -> None:
    (folder / "data/own/empty.txt").touch()
    (folder / "data/own/latin.txt").write_bytes(b"caf\xe9 " * 100)
    (folder / "data/own/page.txt").write_text("<!DOCTYPE html><html><p>text</p></html>")
    (folder / "data/own/marked.txt").write_text(f"From Project Gutenberg, {random_text(4)}")
    before = (folder / "params.yaml").read_text()
    with pytest.raises(UserError) as refused:
        add(*arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (folder / "params.yaml").read_text() == before


@pytest.mark.slow
def test_an_own_text_is_counted_and_the_results_of_the_others_stay(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "repository")
    root = repository.folder
    for number in (1, 2):
        (root / f"data/own/shelf/{number}.txt").parent.mkdir(exist_ok=True)
        (root / f"data/own/shelf/{number}.txt").write_text(random_text(number))
    monkeypatch.chdir(root)
    add("data/own/shelf", "--name", "shelf")
    repository.dvc("repro", "--quiet", "ngram_models")
    found = Corpus.load(root / "data/text/shelf")
    assert "".join(found.vocabulary.to_tokens(found.tokens.tolist())).split() == [
        word for number in (1, 2) for word in random_text(number).split()
    ]
    results = json.loads((root / "data/results/ngram_models.json").read_text())
    first = json.loads((finished / "data/results/ngram_models.json").read_text())
    assert {name: results[name] for name in first} == first
    assert "shelf" in results
    for name in ("lines", "whole", "words"):
        assert np.array_equal(
            Corpus.load(root / "data/text" / name).tokens, Corpus.load(finished / "data/text" / name).tokens
        )
