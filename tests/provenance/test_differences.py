import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from timemachine.base.files import write_arrays, write_json
from timemachine.provenance.differences import difference

W = np.arange(6.0, dtype=np.float32).reshape(2, 3)
CHANGED = W + np.float32([[0, 0, 0], [0, 0.5, 0]])


PAIRS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object], list[str]]] = {
    "a number in a report": (
        "a.json",
        lambda path: write_json(path, {"lstm": {"bits": [1.0, 2.0]}, "n": 3}),
        lambda path: write_json(path, {"lstm": {"bits": [1.0, 2.5]}, "n": 3}),
        ["lstm.bits.1 is 2.5, not 2.0", "1 of 3 values differ", "by a relative distance of at most 0.2"],
    ),
    "a key that is new": (
        "a.json",
        lambda path: write_json(path, {"a": 1}),
        lambda path: write_json(path, {"a": 1, "b": 2}),
        ["b is 2, not absent"],
    ),
    "what is empty in another way": (
        "a.json",
        lambda path: write_json(path, {"a": {}}),
        lambda path: write_json(path, {"a": []}),
        ["a is [], not {}; 1 of 1 values differ"],
    ),
    "a number that is infinite": (
        "a.json",
        lambda path: path.write_text('{"a": NaN, "b": 1.0}'),
        lambda path: path.write_text('{"a": Infinity, "b": 1.5}'),
        ["a is inf, not nan; 2 of 2 values differ, numbers by a relative distance of at most 0.3"],
    ),
    "a weight": (
        "a.safetensors",
        lambda path: write_arrays(path, {"b": W, "w": W}),
        lambda path: write_arrays(path, {"b": W, "w": CHANGED}),
        ["w[1, 1] is 4.5, not 4.0", "1 of 6 elements", "at most 0.5"],
    ),
    "a shape": (
        "a.safetensors",
        lambda path: write_arrays(path, {"w": W}),
        lambda path: write_arrays(path, {"w": W.T}),
        ["array w is float32 (3, 2), not float32 (2, 3)"],
    ),
    "a cell": (
        "a.csv",
        lambda path: path.write_text("t,x\n0,1.0\n1,2.0\n"),
        lambda path: path.write_text("t,x\n0,1.0\n1,2.2\n"),
        ["row 3, column x is 2.2, not 2.0; 1 of 6 values differ, numbers by a relative distance of at most 0.09"],
    ),
    "a line of text": (
        "a.txt",
        lambda path: path.write_text("one\ntwo\n"),
        lambda path: path.write_text("one\ntoo\n"),
        ["byte 5, in line 2"],
    ),
    "a picture": (
        "a.png",
        lambda path: imsave(path, W),
        lambda path: imsave(path, CHANGED),
        ["pixels[1, 1, ", "3 of 24 elements of this array differ, by at most 0.267"],
    ),
    "a number that is none": (
        "a.npy",
        lambda path: np.save(path, W),
        lambda path: np.save(path, np.where(W > 4, np.nan, W)),
        ["array[1, 2] is nan, not 5.0; 1 of 6 elements of this array differ"],
    ),
    "ends of lines": (
        "a.csv",
        lambda path: path.write_text("t,x\n0,1.0\n"),
        lambda path: path.write_text("t,x\r\n0,1.0\r\n", newline=""),
        ["the same values, formatted differently"],
    ),
    "colours of a picture": (
        "a.png",
        lambda path: imsave(path, W),
        lambda path: imsave(path, W.repeat(2, 0)),
        ["array pixels is float32 (4, 3, 4), not float32 (2, 3, 4)"],
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_the_first_difference_is_named_with_both_values(case: str, tmp_path: Path) -> None:
    name, expected, found, words = PAIRS[case]
    for folder, write in (("expected", expected), ("found", found)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / name)
    said = difference(tmp_path / "expected" / name, tmp_path / "found" / name)
    assert [word for word in words if word not in said] == [], said


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: write_json(path, {"lstm": [1.0, 2.0]}),
    "a.csv": lambda path: path.write_text('t,x\n0,"1.0"\n'),
    "a.npy": lambda path: np.save(path, W),
    "a.png": lambda path: imsave(path, W),
    "a.safetensors": lambda path: write_arrays(path, {"w": W}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_any_damage_differs_somewhere(name: str, tmp_path: Path) -> None:
    whole, damaged = tmp_path / name, tmp_path / f"damaged-{name}"
    WRITERS[name](whole)
    content, drawn = whole.read_bytes(), random.Random(0)
    flipped = [bytearray(content) for _ in range(50)]
    for damage in flipped:
        damage[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
    for damage in [b"", b"PK", b"[" * 100_000, *flipped, *(content[:i] for i in range(0, len(content), 9))]:
        damaged.write_bytes(damage)
        assert difference(whole, damaged)
    damaged.write_bytes(b"")
    assert difference(whole, damaged).startswith("byte 0, in line 1, is the first that differs")
