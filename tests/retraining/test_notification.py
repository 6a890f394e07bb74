import json
import sys
from pathlib import Path

import pytest

from timemachine.retraining.notification import notify, parse_command

KEEP = "import sys; open('told', 'w').write(sys.stdin.read())"


def test_the_command_gets_the_report_as_json(tmp_path: Path) -> None:
    notify([sys.executable, "-c", KEEP], {"verdict": "promoted", "val": None}, tmp_path)
    assert json.loads((tmp_path / "told").read_text()) == {"verdict": "promoted", "val": None}


def test_a_command_is_split_as_a_shell_would_and_nothing_is_expanded() -> None:
    assert parse_command("mail -s 'a b' $HOME; true") == ["mail", "-s", "a b", "$HOME;", "true"]
    assert parse_command("") == []
    with pytest.raises(ValueError, match="No closing quotation"):
        parse_command("mail 'hunter2")


@pytest.mark.parametrize(
    ("command", "timeout_s", "warning"),
    [
        (["/nowhere/at/all"], 30, "No such file"),
        ([sys.executable, "-c", "raise SystemExit(3)", "hunter2"], 30, "exit code 3"),
        ([sys.executable, "-c", "import time; time.sleep(60)", "hunter2"], 0.5, "timed out after 0.5 seconds"),
    ],
)
def test_whatever_it_does_is_at_most_a_warning_that_shows_no_argument(
    command: list[str], timeout_s: float, warning: str, tmp_path: Path, capfd
) -> None:
    notify(command, {"text": "x" * 1_000_000}, tmp_path, timeout_s)
    said = capfd.readouterr().err
    assert said.startswith("timemachine: warning: ")
    assert warning in said
    assert len(said.splitlines()) == 1
    assert "hunter2" not in said
