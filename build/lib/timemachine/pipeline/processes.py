"""Find the DVC processes of a repository, and the stages whose DVC is gone."""

import shlex
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

# A training that is asked to end first writes its state.
_PATIENCE_S = 10.0
# Characters of a command in a message.
_MAX_SHOWN = 80


def is_dvc(process: psutil.Process) -> bool:
    """Return whether a process runs DVC's command line: `dvc`, `python -m dvc`, a queue worker.

    `dvc daemon`, which looks for updates of DVC after a command has ended, does not count. A process whose
    command this user may not read does.
    """
    try:
        words = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # `python .../dvc/__main__.py` is how DVC starts itself.
    names = [Path(word.removesuffix("/__main__.py")).name for word in words]
    if "dvc" not in names or not names[0].startswith(("dvc", "python")):
        return False
    return "daemon" not in names[names.index("dvc") + 1 :][:1]


def running_dvc(root: Path, named: Container[int] = ()) -> list[int]:
    """Return the PIDs of the DVC processes that run in a repository.

    Args:
        root: the repository root; a DVC runs in it if its working directory lies there.
        named: PIDs that count also if this user may not read their working directory.
    """
    found = []
    for process in filter(is_dvc, psutil.process_iter()):
        try:
            runs_here = Path(process.cwd()).is_relative_to(root.resolve())
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            runs_here = process.pid in named
        if runs_here:
            found.append(process.pid)
    return found


def describe(pid: int) -> str:
    """Return the PID of a process and its command, for a message: `PID 4711 (dvc repro train_rnn)`."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        words = []
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1] == "-m" else words[1:]
    words[:1] = [Path(word.removesuffix("/__main__.py")).name for word in words[:1]]
    command = shlex.join(words) or "its command is hidden"
    # Without control characters, which could change the terminal.
    shown = "".join(char for char in command if char.isprintable())
    return f"PID {pid} ({shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 1] + '…'})"


def orphaned_stages(root: Path) -> Iterator[psutil.Process]:
    """Yield the processes of stages of a repository, by their environment, that no DVC runs any more."""
    own = psutil.Process()
    spared = {own, *own.parents()}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environment = process.environ()
            if (
                "DVC_STAGE" in environment
                and Path(environment.get("DVC_ROOT", "/")).resolve() == root.resolve()
                and process not in spared
                and process.status() != psutil.STATUS_ZOMBIE
                and not any(map(is_dvc, [process, *process.parents()]))
            ):
                yield process


def end(processes: Sequence[psutil.Process]) -> None:
    """End processes: by SIGTERM, and by SIGKILL those that still run after 10 s."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, _PATIENCE_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, _PATIENCE_S)
