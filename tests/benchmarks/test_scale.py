"""The measurement of the stages by size of the text, on tiny texts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from graph import ROOT

from benchmarks import scale


@pytest.mark.slow
def test_each_stage_is_measured_on_the_text_that_is_made(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/scale.py"), "--sizes", "0.03", "--folder", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "text: 0.03 MB, of which 0.0 MB repeat" in said
    for name in scale.STEPS:
        seconds, gigabytes = re.findall(rf"\| {name} \| ([\d.]+) \| ([\d.]+) \|", said)[0]
        assert float(seconds) > 0
        assert 0.02 < float(gigabytes) < 4
    assert list(tmp_path.iterdir()) == []


def test_the_text_repeats_lines_with_changed_words_where_the_machine_has_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"the {i} lines of this text are few and they are short" for i in range(10)]
    monkeypatch.setattr(scale, "prose", lambda: iter(lines))
    repeated = scale.write_text(tmp_path / "text", 10_000)
    written = (tmp_path / "text").read_text().splitlines()
    assert written[:10] == lines
    assert repeated == 10_000 - sum(len(line) + 1 for line in lines)
    assert set(map(len, map(str.split, written))) == {12}
    assert len(set(written)) > 100


def test_the_exponent_is_that_of_the_seconds_from_the_first_to_the_last_size() -> None:
    columns = [{name: scale.Measured(seconds, 1.0) for name in scale.STEPS} for seconds in (2.0, 5.0, 200.0)]
    rows = scale.table([1, 10, 100], columns).splitlines()
    assert rows[2] == "| preprocess | 2.0 | 1.00 | 5.0 | 1.00 | 200.0 | 1.00 | 1.00 |"
    assert rows[-2].startswith("100 MB: 23.3 min and 1.0 GB without context_mixing, which takes 3.3 min")
