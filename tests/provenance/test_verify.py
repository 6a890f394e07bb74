import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from two_stages import ENVIRONMENT, SCRIPT

from timemachine.provenance.verify import verify_pipeline

pytestmark = pytest.mark.slow


def verified(root: Path, tolerance: float = 0.01) -> tuple[bool, list[str]]:
    said: list[str] = []
    return verify_pipeline(root, tolerance, said.append), said


def test_a_second_run_with_the_same_bytes_is_verified_and_leaves_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert verified(repository) == (True, ["4 of 4 outputs have the bytes of dvc.lock"])
    assert sorted(tmp_path.rglob("*")) == before


def test_what_differs_on_the_same_machine_is_named_and_fails(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1e-9")
    good, said = verified(repository)
    assert not good
    assert said[0] == "2 of 4 outputs have the bytes of dvc.lock"
    assert any(line.startswith("data/folder/b.json: 0 is 1e-09, not 0.0") for line in said)
    assert any(line.startswith("data/results/a.json: rmse is 0.200000001, not 0.2") for line in said)
    assert "2 of 2 numbers in reports agree within 1 %, or 1e-09" in said
    assert json.loads((Path(said[-1].split()[-1]) / "data/folder/b.json").read_text()) == [1e-9]


@pytest.mark.parametrize(("noise", "good"), [("0.001", True), ("0.01", False)])
def test_on_another_machine_the_numbers_must_agree_within_the_tolerance(
    noise: str, good: bool, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MACHINE", "elsewhere")
    monkeypatch.setenv("NOISE", noise)
    verdict, said = verified(repository)
    assert verdict == good
    assert f"this is another kind of machine than that of dvc.lock ({ENVIRONMENT})" in said
    assert any(line.startswith("data/results/a.json: rmse: 4.76 % apart") for line in said) == (not good)


def test_results_that_are_not_at_hand_are_compared_by_their_hash(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1")
    for path in (repository / ".dvc/cache/files").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    (repository / "data/folder/b.json").unlink()
    assert any(
        "data/folder: other bytes; the original is neither in the working tree" in line
        for line in verified(repository)[1]
    )


def test_a_number_that_is_gone_is_not_said_to_be_apart(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (repository / "work.py").write_text(SCRIPT.replace('"n": 3', '"m": 3'))
    good, said = verified(repository)
    assert not good
    assert said[0].startswith("this working tree differs from dvc.lock: work.py changed")
    assert "data/results/a.json: n: absent in the second run" in said


def test_a_machine_that_nobody_wrote_down_is_not_said_to_be_the_same(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1e-12")
    (repository / ENVIRONMENT).unlink()
    shutil.rmtree(repository / ".dvc/cache")
    good, said = verified(repository)
    assert not good
    assert f"the kind of machine of dvc.lock is not recorded ({ENVIRONMENT})" in said


def test_a_damaged_list_in_the_cache_is_as_good_as_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1")
    (listing,) = (repository / ".dvc/cache/files").rglob("*.dir")
    listing.chmod(0o644)
    listing.write_text('[{"md5": "x"}]')
    (repository / "data/folder/b.json").unlink()
    assert "data/folder: other bytes; the original is neither in the working tree" in "".join(
        verified(repository)[1]
    )


def test_a_duplicate_key_is_named_with_its_line_before_anything_runs(repository: Path) -> None:
    with (repository / "params.yaml").open("a") as file:
        file.write("compute: {}\n")
    with pytest.raises(ValueError, match=r"params\.yaml: line \d+: duplicate key 'compute', first in line 1$"):
        verified(repository)


def test_what_a_killed_dvc_left_is_repaired_first(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (repository / "dvc.lock").write_bytes(b"")
    expected = ["dvc.lock was cut off; put back the copy kept aside", "4 of 4 outputs have the bytes of dvc.lock"]
    assert verified(repository) == (True, expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ends_it_ends_the_second_run_too(number: signal.Signals, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (repository / "work.py").write_text("import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)\n")
    command = [sys.executable, "-m", "timemachine.cli", "verify"]
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=repository, env=environment, stderr=pipe, text=True) as verifying:
        while not list(tmp_path.glob("temporary/*/copy/begun")):
            assert verifying.poll() is None
            time.sleep(0.05)
        started = psutil.Process(verifying.pid).children(recursive=True)
        (dvc,) = (process for process in started if "dvc" in process.cmdline())
        verifying.send_signal(number)
        assert dvc.wait(30) != 0
        for process in started:  # real stages end with their DVC
            with suppress(psutil.NoSuchProcess):
                process.kill()
        said = verifying.communicate()[1]
    if number == signal.SIGTERM:
        assert (verifying.returncode, said.splitlines()[-1]) == (130, "timemachine: interrupted")
        assert list((tmp_path / "temporary").iterdir()) == []
