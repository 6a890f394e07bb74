import hashlib
import json
from pathlib import Path

import pytest
import yaml
from tiny import make_project, random_text, run_stage, tiny_text, write_params

from timemachine.pipeline import params
from timemachine.retraining.gate import held_out_corpus
from timemachine.text.preparation.clean import clean_whole
from timemachine.text.tokens.corpus import Corpus

SHARDS = {f"{i}.txt": random_text(seed=i, num_words=200) for i in range(3)}
OTHER = f"caf\N{LATIN SMALL LETTER E WITH ACUTE} {tiny_text()}"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A project with a text in three shards, one in another encoding, an accepted text and a cap."""
    make_project(tmp_path)
    content = yaml.safe_load((tmp_path / "params.yaml").read_text())
    entry = content["texts"].pop("timemachine")
    content["texts"] = {"other": entry | {"encoding": "windows-1252"}, "shards": entry, "unused": entry}
    content["preprocess"]["split"]["max_held_out"] = 100
    for recipe in content["preprocess"]["corpora"].values():
        recipe["texts"] = ["shards", "other"]
    write_params(tmp_path, content)
    files = {f"raw/shards/{name}": text.encode() for name, text in SHARDS.items()}
    files |= {"raw/other/other.txt": OTHER.encode("windows-1252"), "raw/unused/unused.txt": b"No one reads this."}
    for name, text in (files | {"accepted/new.txt": b"An accepted text."}).items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(text)
    return tmp_path


def test_a_corpus_of_several_texts_has_their_pieces_in_order(shelf: Path) -> None:
    run_stage(shelf, "preprocess")
    corpus = Corpus.load(shelf / "data/text/whole")
    pieces = ["An accepted text.", *SHARDS.values(), OTHER]
    ends = [*corpus.pieces[1:], len(corpus.tokens)]
    found = [corpus.tokenizer.decode(corpus.tokens[a:b]) for a, b in zip(corpus.pieces, ends, strict=True)]
    assert found == [clean_whole(text) for text in pieces]
    assert corpus.num_added == corpus.pieces[1]
    assert len(corpus.part("val")) == len(corpus.part("test")) == 100
    assert corpus.tokenizer.decode(corpus.part("test")) == clean_whole(OTHER)[-100:]


def test_the_gate_scores_the_held_out_parts_of_the_corpus_that_is_compared(shelf: Path) -> None:
    run_stage(shelf, "preprocess")
    corpus, compared = Corpus.load(shelf / "data/text/whole"), params.load(shelf / "params.yaml")
    held_out = held_out_corpus(compared, shelf / "data")
    assert (held_out.split, held_out.pieces) == (corpus.split, corpus.pieces)
    assert held_out.tokenizer.decode(held_out.tokens) == corpus.tokenizer.decode(corpus.tokens)


def test_the_report_has_every_text_and_accepted_text_with_its_hash(shelf: Path) -> None:
    run_stage(shelf, "preprocess")
    report = json.loads((shelf / "data/results/text.json").read_text())
    listed = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in SHARDS.items())
    assert list(report["texts"]) == ["other", "shards", "unused"]
    assert report["texts"]["shards"] == {
        "num_lines": 3,
        "num_bytes": sum(map(len, SHARDS.values())),
        "sha256": hashlib.sha256(listed.encode()).hexdigest(),
        "shards": 3,
    }
    assert report["added"] == {"new.txt": hashlib.sha256(b"An accepted text.").hexdigest()}
    assert report["corpora"]["whole"]["tokens"] == len(Corpus.load(shelf / "data/text/whole").tokens)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("raw/shards/1.txt", b"", "1.txt: the text is empty"),
        ("raw/shards/1.txt", b"abc\xff", "1.txt: not UTF-8 at byte 3"),
        ("accepted/new.txt", b"12", "new.txt: the text has no letter A-Z"),
    ],
)
def test_a_piece_that_is_no_text_is_named(name: str, content: bytes, said: str, shelf: Path) -> None:
    (shelf / "data" / name).write_bytes(content)
    with pytest.raises(SystemExit, match=rf"preprocess\.corpora\.lines: .*{said}"):
        run_stage(shelf, "preprocess")


def test_a_text_that_is_absent_is_named(shelf: Path) -> None:
    (shelf / "data/raw/other/other.txt").unlink()
    with pytest.raises(SystemExit, match=r"data/raw/other: .*dvc repro"):
        run_stage(shelf, "preprocess")
