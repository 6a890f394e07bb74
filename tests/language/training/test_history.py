from pathlib import Path

import pytest

from timemachine.base.files import write_table
from timemachine.language.training.history import read_history


def test_a_history_comes_back_with_counts_as_counts(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "nats": 0.1 + 0.2}, {"epoch": 2, "nats": 3.0}]
    write_table(tmp_path / "h.csv", rows)
    assert read_history(tmp_path / "h.csv") == rows
    assert isinstance(read_history(tmp_path / "h.csv")[0]["epoch"], int)


@pytest.mark.parametrize("content", ["", "epoch,nats\n", "epoch,nats\n1,high\n", "epoch,nats\n1\n", "a,b\n1,2\n"])
def test_a_damaged_history_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(content)
    with pytest.raises(ValueError, match=r"h\.csv: .*dvc repro"):
        read_history(tmp_path / "h.csv")
