import os
import subprocess
import sys
from pathlib import Path

import pytest

from timemachine.retraining.pipeline import Pipeline

pytestmark = pytest.mark.slow


def test_dvcs_own_words_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dvc status --json: .*not inside of a DVC repository"):
        Pipeline(tmp_path, 0).changed_stages()


def test_a_lock_is_kept_by_a_child_that_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from timemachine.retraining.lock import one_at_a_time\n"
        "with one_at_a_time(Path()) as lock:\n"
        "    subprocess.Popen(['sleep', '60'], pass_fds=[lock], stdout=subprocess.DEVNULL)\n"
        "    print(flush=True); os.kill(os.getpid(), 9)\n"
    )
    from timemachine.retraining.lock import BusyError, one_at_a_time

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
