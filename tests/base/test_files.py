import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from timemachine.base.files import (
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_json,
    write_table,
    write_text,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "f.txt", "old")

    def write_half() -> None:
        with replacing(tmp_path / "f.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]
    assert (tmp_path / "f.txt").read_text() == "old"


def test_folders_are_made_and_files_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/f.txt", "é\n")
    assert (tmp_path / "a/b/f.txt").read_bytes() == "é\n".encode()
    assert (tmp_path / "a/b/f.txt").stat().st_mode & 0o044 == 0o044


def test_json_never_holds_nan_or_infinity(tmp_path: Path) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "f.json", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_json_and_tables_come_back_exactly(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "x": 0.1 + 0.2}, {"epoch": 2, "x": 1e-300}]
    write_json(tmp_path / "f.json", rows)
    write_table(tmp_path / "f.csv", rows)
    assert read_json(tmp_path / "f.json") == rows
    header, *lines = (tmp_path / "f.csv").read_text().splitlines()
    assert [dict(zip(header.split(","), map(json.loads, line.split(",")), strict=True)) for line in lines] == rows


def test_arrays_are_written_as_safetensors_writes_them(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        'é."': np.arange(3.0),
        "a": np.array(1.5, dtype=np.float32),
        "c": np.arange(3, dtype=np.uint8),
        "none": np.empty((0, 4)),
    }
    write_arrays(tmp_path / "a", arrays)
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    assert (tmp_path / "a").read_bytes() == save(contiguous)
    assert {name: array.tolist() for name, array in read_arrays(tmp_path / "a").items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
