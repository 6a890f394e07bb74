import time
from pathlib import Path

import pytest

from timemachine.pipeline.times import TIMES, StageTime, read_times, recorded


def test_the_last_run_of_a_stage_is_remembered_and_a_damaged_note_is_left_out(tmp_path: Path) -> None:
    with recorded(tmp_path, "train_rnn@lstm", time.time() - 7):
        pass
    (tmp_path / TIMES / "series.json").write_text('{"started": 1')
    (tmp_path / TIMES / "report.json").write_text('{"started": "2026-01-01T00:00:00+00:00", "duration_s": 2}')
    times = read_times(tmp_path)
    assert times.pop("report") == StageTime("2026-01-01T00:00:00+00:00", 2.0)
    assert list(times) == ["train_rnn@lstm"]
    assert 7 <= times["train_rnn@lstm"].duration_s < 60


def test_a_failed_run_leaves_no_note(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), recorded(tmp_path, "series", time.time()):
        raise OSError("full")
    assert read_times(tmp_path) == {}
