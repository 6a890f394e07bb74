"""How a script becomes a stage: parameters in, one line out if they, or the data, are wrong."""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from timemachine.base import compute
from timemachine.base.errors import UserError
from timemachine.pipeline import handover, params

if TYPE_CHECKING:
    import psutil

# Set in a process that started again. An imported library may set such variables itself.
_RESTARTED = "TIMEMACHINE_RESTARTED"
_SECONDS_BETWEEN_LOOKS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # the exit code that shells give for Ctrl-C


def repository_root() -> Path:
    """Return the folder that holds `dvc.yaml`, from wherever inside it one stands.

    `DVC_ROOT`, which DVC sets for its stages, wins: it names the real repository even when the stage runs in
    the temporary folder of an experiment.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """End the program with one line on standard error where a user's mistake raised an error.

    `--debug` on the command line or `TIMEMACHINE_DEBUG=1` shows the traceback instead.
    """
    if "--debug" in sys.argv or os.environ.get("TIMEMACHINE_DEBUG") == "1":
        yield
        return
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"{name}: {_with_notes(stop, 'interrupted')}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"{name}: error: {_with_notes(error, str(error) or 'out of memory')}")
    except RuntimeError as error:
        # So torch calls what it cannot allocate; everything else is a fault of the program.
        if "memory" not in str(error):
            raise
        sys.exit(f"{name}: error: {_with_notes(error, f'out of memory: {str(error).splitlines()[0]}')}")


def _with_notes(error: BaseException, text: str) -> str:
    return " ".join("; ".join([text, *getattr(error, "__notes__", [])]).split())


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the block end as by Ctrl-C when the process is to end, its terminal is closed, or its DVC is gone.

    A stage that outlives a killed `dvc repro` would go on writing beside the next one. What comes after the first
    signal is not heard, so that the block can put its work aside; but for Ctrl-C, by which people insist.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    # What is ignored stays so: `nohup` and background jobs of shells have their reasons.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in heard:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in heard}
    over = threading.Event()
    try:
        if "DVC_STAGE" in os.environ:
            if dvc := _running_dvc():
                threading.Thread(target=_end_with, args=(dvc, over), daemon=True).start()
            elif handover.is_announced():
                raise KeyboardInterrupt  # killed while this process was still starting
        yield
    finally:
        over.set()
        for number, handler in before.items():
            if signal.getsignal(number) is interrupt:  # else the process is about to end
                signal.signal(number, handler)


def _running_dvc() -> "psutil.Process | None":
    """Return the DVC that this process was started by; between them there may be a shell."""
    import psutil  # DVC comes with it

    with suppress(psutil.Error):
        for parent in psutil.Process().parents():
            if any(Path(word).name in handover.DVC for word in parent.cmdline()):
                return parent
    return None


def _end_with(dvc: "psutil.Process", over: threading.Event) -> None:
    import psutil

    while not over.wait(_SECONDS_BETWEEN_LOOKS):
        with suppress(psutil.NoSuchProcess):
            if dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
                continue
        os.kill(os.getpid(), signal.SIGTERM)
        return


def main(run: Callable[..., None], **paths: str) -> None:
    """Call a stage's `run` with the checked params, the given paths and the script's own arguments.

    Without arguments a stage of a foreach takes its name from `DVC_STAGE`, for example `train_rnn@lstm`, so that
    no name from params.yaml stands in a command that a shell runs.

    If the environment has variables that change sums, the script starts again without them: numpy and torch have
    already read them.
    """
    if (names := compute.changing_variables()) and _RESTARTED not in os.environ:
        kept = {name: value for name, value in os.environ.items() if name not in names}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**kept, _RESTARTED: "1"})  # noqa: S606
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    script = Path(sys.argv[0])
    with one_line_errors(script.stem), interruptible():
        if not arguments and (name := os.environ.get("DVC_STAGE", "").partition(f"{script.stem}@")[2]):
            arguments = [name]
        names = [name for name in list(inspect.signature(run).parameters)[1:] if name not in paths]
        if len(arguments) != len(names):
            raise UserError(f"usage: python {script} {' '.join(names).upper()}".rstrip())
        checked = params.load()
        compute.set_up(checked.compute)
        run(checked, *arguments, **{key: Path(path) for key, path in paths.items()})


def entry(section: dict[str, Any], name: str, key: str) -> Any:
    """Return `section[name]`; an unknown name is a `ValueError` that lists the known ones."""
    if name not in section:
        raise UserError(f"params.yaml: {key}: no entry {name!r}; known: {', '.join(section)}")
    return section[name]
