"""A git repository with two stages that take no time, stock DVC to run it, and DVC broken off in the middle."""

import subprocess
import sys
from pathlib import Path

from tiny import git

from timemachine.pipeline import dvc as stock
from timemachine.pipeline import repair

GRAPH = """stages:
  words:
    cmd: mkdir words; cp text words/a; cp text words/b
    deps: [text]
    outs: [words]
  report:
    cmd: cat words/* > report; cp report copy
    deps: [words]
    outs: [copy]
    metrics: [report: {cache: false}]
"""
TEXT = "one two three"

# DVC, broken off before one of its file operations: killed, or from there on as on a full disk. It ends with their
# number. Random moments seldom hit what takes milliseconds, as to note a run in the cache.
_BROKEN_OFF = """if True:
    import errno, itertools, os, signal, sys
    from dvc.cli import main
    number, way = int(sys.argv.pop(1)), sys.argv.pop(1)
    numbers = itertools.count(1)
    changes = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir")
    def break_off(event, arguments):
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in changes) and next(numbers) >= number:
            if way == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif event not in changes[4:]:
                raise OSError(errno.ENOSPC, "No space left on device", arguments[0])
    sys.addaudithook(break_off)
    try:
        main()
    finally:
        print(next(numbers) - 1)
"""


def make_small_pipeline(folder: Path) -> Path:
    """Make the repository, with nothing run yet and everything committed."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "t")
    git(folder, "config", "user.email", "t@example.org")
    dvc(folder, "init", "--quiet")
    (folder / "text").write_text(TEXT)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / ".gitignore").write_text("/words\n/copy\n/.timemachine\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def _run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=stock.child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def try_dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run stock DVC."""
    return _run_python(folder, "-m", "dvc", *arguments)


def dvc(folder: Path, *arguments: str) -> str:
    """Run stock DVC, which must succeed, and return what it prints."""
    done = try_dvc(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mended(folder: Path) -> list[str]:
    """Repair the repository and return the lines that say what was mended."""
    said: list[str] = []
    repair.repair(folder, said.append)
    return said


def repro_broken_off(folder: Path, number: int, way: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc repro`, broken off before a file operation, counted from 1, by `kill` or `fill` (a full disk)."""
    return _run_python(folder, "-c", _BROKEN_OFF, str(number), way, "repro")


def goes_on(folder: Path) -> list[str]:
    """Repair the repository, check that stock DVC then ends in the right bytes, and return what repair said."""
    said = mended(folder)
    dvc(folder, "repro")
    assert (folder / "report").read_text() == (folder / "copy").read_text() == 2 * TEXT
    assert mended(folder) == []
    return said
