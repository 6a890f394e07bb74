import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny import make_project, random_text, tiny_params, tiny_text, write_params

from timemachine.pipeline import params
from timemachine.retraining import library as library_module
from timemachine.retraining.admission import Library
from timemachine.retraining.library import open_library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_project(tmp_path)
    (tmp_path / "data/accepted").mkdir(parents=True)
    for seed in range(1, 4):
        accepted(tmp_path, seed).write_text(random_text(seed))
    return tmp_path


def accepted(folder: Path, seed: int) -> Path:
    return folder / f"data/accepted/{seed}.txt"


def opened(folder: Path) -> tuple[Library, list[str]]:
    """Return the library, and the files that were read for it apart from the computation of their hash."""
    read = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("as_text", "read_piece"):
            original = getattr(library_module, name)

            def noted(*arguments, original=original, **options):
                read.extend(argument.name for argument in arguments if isinstance(argument, Path))
                return original(*arguments, **options)

            monkeypatch.setattr(library_module, name, noted)
        return open_library(params.load(folder / "params.yaml"), folder), read


def content(library: Library) -> list[object]:
    names, runs, numbers = library.accepted.union()
    return [names, *(array.tolist() for array in (runs, numbers, library.book, library.held_out))]


def test_only_texts_that_are_new_are_read_again(folder: Path) -> None:
    first, read = opened(folder)
    assert read == ["timemachine.txt", "1.txt", "2.txt", "3.txt"]
    again, read = opened(folder)
    assert read == []
    assert content(again) == content(first)
    accepted(folder, 1).unlink()
    accepted(folder, 2).write_text(random_text(5))
    accepted(folder, 4).write_text(random_text(4))
    third, read = opened(folder)
    assert read == ["2.txt", "4.txt"]
    (folder / ".timemachine/admission").unlink()
    anew, _ = opened(folder)
    assert content(third) == content(anew) == content(opened(folder)[0])
    assert list(third.accepted) == ["2.txt", "3.txt", "4.txt"]


def test_a_damaged_file_is_made_again(folder: Path) -> None:
    first, _ = opened(folder)
    path = folder / ".timemachine/admission"
    kept = path.read_bytes()
    for damaged in (b"", kept[:100], kept[:-1], kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:], bytes(len(kept))):
        path.write_bytes(damaged)
        assert content(opened(folder)[0]) == content(first)
        assert path.read_bytes() == kept
    path.unlink()
    path.mkdir()  # it can be neither read nor written
    assert content(opened(folder)[0]) == content(first)


def test_another_text_or_split_makes_it_again_and_all_texts_of_corpora_are_in_it(folder: Path) -> None:
    first, _ = opened(folder)
    changed = tiny_params()
    (folder / "other.txt").write_text(tiny_text(seed=1))
    sha256 = hashlib.sha256(tiny_text(seed=1).encode()).hexdigest()
    changed["texts"]["other"] = {"sources": ["other.txt"], "sha256": sha256}
    write_params(folder, changed)
    assert content(opened(folder)[0]) == content(first)
    changed["preprocess"]["corpora"]["words"]["texts"] = ["timemachine", "other"]
    write_params(folder, changed)
    both, read = opened(folder)
    assert read[:2] == ["timemachine.txt", "other.txt"]
    assert np.isin(first.book, both.book).all()
    assert len(both.book) > len(first.book)
    assert np.isin(first.held_out, both.held_out).all()
    changed["preprocess"]["split"] = {"train": 0.6, "val": 0.2, "test": 0.2}
    write_params(folder, changed)
    assert len(opened(folder)[0].held_out) > len(both.held_out)
