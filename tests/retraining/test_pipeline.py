import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc
from timemachine.retraining.pipeline import BusyError, Pipeline, one_at_a_time

pytestmark = pytest.mark.slow


def test_dvcs_own_words_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dvc status --json: .*not inside of a DVC repository"):
        Pipeline(tmp_path, 0, 1.0).changed_stages()


def test_a_dvc_that_does_not_end_in_time_is_ended_with_its_stage(tmp_path: Path) -> None:
    dvc.run(tmp_path, "init", "--no-scm", "--quiet").check_returncode()
    (tmp_path / "sleeps.py").write_text("import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)")
    (tmp_path / "dvc.yaml").write_text("stages: {slow: {cmd: python sleeps.py, outs: [slow]}}")
    limit_s = 3.0
    with one_at_a_time(tmp_path) as lock:
        while not (tmp_path / "begun").exists():  # on a busy machine DVC takes long to start
            with pytest.raises(UserError, match=r"^dvc repro did not end within .*\(retraining.max_hours\)"):
                Pipeline(tmp_path, lock, limit_s / 3600).reproduce()
            limit_s *= 2
    running = [process.info["cwd"] for process in psutil.process_iter(["cwd"])]
    assert str(tmp_path) not in running


def test_a_lock_is_kept_by_a_child_that_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from timemachine.retraining.pipeline import one_at_a_time\n"
        "with one_at_a_time(Path()) as lock:\n"
        "    subprocess.Popen(['sleep', '60'], pass_fds=[lock], stdout=subprocess.DEVNULL)\n"
        "    print(flush=True); os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    parent.wait()
    with pytest.raises(BusyError), one_at_a_time(tmp_path):
        pass
    os.killpg(parent.pid, 9)
    # Freed as soon as the kernel has ended the child.
    while True:
        try:
            with one_at_a_time(tmp_path):
                break
        except BusyError:
            pass
