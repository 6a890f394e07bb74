"""How a script becomes a stage: checked params, one line for an error, an orderly end for a signal."""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from timemachine.base import compute
from timemachine.base.errors import UserError
from timemachine.pipeline.position import position
from timemachine.pipeline.times import recorded

if TYPE_CHECKING:
    from timemachine.pipeline import params

# Set in a process that started again. An imported library may set such variables itself.
_RESTARTED = "TIMEMACHINE_RESTARTED"
_SECONDS_BETWEEN_LOOKS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # the exit code that shells give for Ctrl-C


def repository_root() -> Path:
    """Return the folder that holds `dvc.yaml`: the working directory or one above it.

    `DVC_ROOT`, which DVC sets for its stages, takes precedence: it names the real repository even if the stage
    runs in the temporary folder of an experiment.
    """
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """End the program with one line on standard error if the block raises an error that a user can put right.

    These are a `UserError`, an `OSError` of a file, exhausted memory, and what a GPU reports. Any other exception
    is a bug and shows its traceback. `--debug` on the command line or `TIMEMACHINE_DEBUG=1` shows the traceback of
    all.
    """
    if "--debug" in sys.argv or os.environ.get("TIMEMACHINE_DEBUG") == "1":
        yield
        return
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"{name}: {_with_notes(stop, 'interrupted')}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        of_a_file = isinstance(error, OSError) and (error.filename is not None or hasattr(error, "__notes__"))
        text = str(error) if of_a_file or isinstance(error, UserError) else None
        text = text or compute.out_of_memory(error) or compute.gpu_error(error)
        if text is None:
            raise
        sys.exit(f"{name}: error: {_with_notes(error, text)}")


def _with_notes(error: BaseException, text: str) -> str:
    return " ".join("; ".join([text, *getattr(error, "__notes__", [])]).split())


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the block on SIGINT, SIGTERM and SIGHUP, and when its DVC is gone.

    A stage that outlives a killed `dvc repro` would write at the same time as the next one. After the first signal
    further ones are ignored, so that the block can save its work, except for Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    # A signal that is ignored stays so: `nohup` and background jobs of shells rely on it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in heard:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in heard}
    over = threading.Event()
    try:
        if "DVC_STAGE" in os.environ:
            _end_with_dvc(over)
        yield
    finally:
        over.set()
        for number, handler in before.items():
            if signal.getsignal(number) is interrupt:  # else the process is about to end
                signal.signal(number, handler)


def _end_with_dvc(over: threading.Event) -> None:
    """Watch the DVC that started this stage, and send SIGTERM to this process when it is gone."""
    import psutil  # DVC depends on it

    from timemachine.pipeline.processes import is_dvc

    dvc = next(filter(is_dvc, psutil.Process().parents()), None)
    if dvc is None:
        raise KeyboardInterrupt  # DVC was killed while this process was starting

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN_LOOKS):
            with suppress(psutil.NoSuchProcess):
                if dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
                    continue
            os.kill(os.getpid(), signal.SIGTERM)
            return

    threading.Thread(target=watch, daemon=True).start()


def main(run: Callable[..., None], **paths: str) -> None:
    """Call a stage's `run` with the checked params, the given paths and the script's own arguments.

    Without arguments a stage of a foreach takes its name from `DVC_STAGE`, for example `train_rnn@lstm`, so that
    no name from params.yaml is part of a command that a shell runs.

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
        from timemachine.pipeline import params  # commands import this module and need no params

        checked = params.load()
        compute.set_up(checked.compute)
        _say_position(checked)
        with _timed():
            run(checked, *arguments, **{key: Path(path) for key, path in paths.items()})


def _say_position(checked: "params.Params") -> None:
    """Print where this stage stands in the pipeline, if DVC runs it."""
    name = os.environ.get("DVC_STAGE")
    if name and (place := position(name, checked, Path("dvc.yaml"))):
        print(f"stage {place[0]} of {place[1]}: {name}", file=sys.stderr, flush=True)


def _timed() -> AbstractContextManager[None]:
    """Record when this stage ran, if DVC runs it."""
    if (name := os.environ.get("DVC_STAGE")) is None:
        return nullcontext()
    import psutil

    return recorded(Path(), name, psutil.Process().create_time())


def entry(section: dict[str, Any], name: str, key: str) -> Any:
    """Return `section[name]`.

    Args:
        section: entries by name.
        name: as the user gave it.
        key: of the section in params.yaml, for the error message.

    Raises:
        UserError: there is no such entry; the message lists those there are.
    """
    if name not in section:
        raise UserError(f"params.yaml: {key}: no entry {name!r}; known: {', '.join(section)}")
    return section[name]
