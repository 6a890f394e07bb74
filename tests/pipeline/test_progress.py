"""Progress of long work, on a terminal and elsewhere."""

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from timemachine.pipeline.progress import named, show_progress


def test_lines_appear_while_a_step_takes_long_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with show_progress("model", interval_s=0.01) as show:
        show(1, 3000, f"epochs, {named({'perplexity': 1.5, 'tokens_per_s': 12345.6})}")
        while len(lines) < 2:
            lines += capsys.readouterr().err.splitlines()
        show(3000, 3000, "epochs")
    assert set(lines) == {"model: 1/3,000 epochs, perplexity 1.500, tokens/s 12,346 (0 s)"}
    assert capsys.readouterr().err.splitlines()[-1] == "model: 3,000/3,000 epochs (0 s)"


def test_short_work_is_one_line_and_failed_work_has_no_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("short") as show:
        show(2, 2, "steps")
    with show_progress("empty"):
        pass
    with suppress(ZeroDivisionError), show_progress("failed") as show:
        show(1, 2, "steps")
        raise ZeroDivisionError
    assert capsys.readouterr().err == "short: 2/2 steps (0 s)\n"


SCRIPT = """if True:
    from timemachine.pipeline.progress import show_progress
    with show_progress("model", steady=True) as show:
        show(1, 4, "epochs, perplexity 1.500")
    with show_progress("model") as show:
        show(3, 4, "networks, linear")
"""


def said_on_a_terminal(num_rows: int, num_columns: int) -> str:
    """Return what the script prints on a terminal of a size."""
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (num_rows, num_columns))
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=there, check=True)
    os.close(there)
    said = os.read(here, 10_000).decode()
    os.close(here)
    return said


def test_a_terminal_has_a_bar() -> None:
    said = said_on_a_terminal(24, 80)
    bars = re.split(r"[\r\n]+", said)
    assert re.search(r"model:  25%\|█+.? +\| 1/4 epochs \[00:0.<.+, perplexity 1\.500\]", said)
    assert re.search(r"model:  75%\|█+.? +\| 3/4 networks \[00:0., linear\]", said)
    assert max(map(len, bars)) <= 80


def test_a_terminal_that_does_not_tell_its_size_has_lines() -> None:
    said = said_on_a_terminal(0, 0)
    assert said.splitlines() == ["model: 1/4 epochs, perplexity 1.500 (0 s)", "model: 3/4 networks, linear (0 s)"]
