"""How a script becomes a stage: checked params, one line for an error, an orderly end for a signal."""

import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from timemachine.base import compute
from timemachine.base.errors import UserError
from timemachine.pipeline import torchrun
from timemachine.pipeline.position import position
from timemachine.pipeline.times import recorded

if TYPE_CHECKING:
    from timemachine.pipeline import params

# Set in a process that started again. An imported library may set such variables itself.
_RESTARTED = "TIMEMACHINE_RESTARTED"
_SECONDS_BETWEEN_LOOKS = 0.2
# Time for another process to print an error that this one has, too.
_SECONDS_FOR_OTHERS = 30.0
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
def one_line_errors(name: str, is_silent: Callable[[BaseException], bool] = lambda _: False) -> Iterator[None]:
    """End the program with one line on standard error if the block raises an error that a user can put right.

    These are a `UserError`, an `OSError` of a file, a lost connection, exhausted memory, and what a GPU reports.
    Any other exception is a bug and shows its traceback. `--debug` on the command line or `TIMEMACHINE_DEBUG=1`
    shows the traceback of all.

    Args:
        name: of the program.
        is_silent: whether another process prints the error.
    """
    if "--debug" in sys.argv or os.environ.get("TIMEMACHINE_DEBUG") == "1":
        yield
        return
    try:
        yield
    except KeyboardInterrupt as stop:
        if not is_silent(stop):
            print(f"{name}: {_with_notes(stop, 'interrupted')}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if is_silent(error):
            time.sleep(_SECONDS_FOR_OTHERS)  # torchrun ends all processes as soon as one has ended
            sys.exit(1)
        of_a_file = isinstance(error, OSError) and (error.filename is not None or hasattr(error, "__notes__"))
        text = str(error) if of_a_file or isinstance(error, (UserError, ConnectionError)) else None
        text = text or compute.out_of_memory(error) or compute.gpu_error(error)
        if text is None:
            raise
        sys.exit(f"{name}: error: {_with_notes(error, text)}")


def _with_notes(error: BaseException, text: str) -> str:
    return " ".join("; ".join([text, *getattr(error, "__notes__", [])]).split())


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the block on SIGINT, SIGTERM and SIGHUP, and when its DVC or torchrun is gone.

    A stage that outlives a killed `dvc repro` would write at the same time as the next one. After the first signal
    further ones are ignored, so that the block can save its work, except for Ctrl-C. A process of torchrun ignores
    that, too, because torchrun passes it on, and kills after 30 s what still runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    # A signal that is ignored stays so: `nohup` and background jobs of shells rely on it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in heard:
            still = other == signal.SIGINT and not torchrun.by_torchrun()
            signal.signal(other, signal.default_int_handler if still else signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in heard}
    over = threading.Event()
    try:
        if "DVC_STAGE" in os.environ:
            _end_with_dvc(over)
        if torchrun.by_torchrun():
            _end_with_torchrun(over)
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

    def is_gone() -> bool:
        with suppress(psutil.NoSuchProcess):
            return not dvc.is_running() or bool(dvc.status() == psutil.STATUS_ZOMBIE)
        return True

    _end_when(is_gone, over)


def _end_with_torchrun(over: threading.Event) -> None:
    """Send SIGTERM to this process when the torchrun that started it is gone."""
    import psutil

    parent = psutil.Process().parent()
    if parent is None or (parent.pid == 1 and not any("torch" in word for word in parent.cmdline())):
        raise KeyboardInterrupt  # torchrun was killed while this process was starting
    _end_when(lambda: os.getppid() != parent.pid, over)


def _end_when(is_gone: Callable[[], bool], over: threading.Event) -> None:
    """Send SIGTERM to this process as soon as another one is gone."""

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN_LOOKS):
            if is_gone():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()


def main(run: Callable[..., None], **paths: str) -> None:
    """Call a stage's `run` with the checked params, the given paths and the script's own arguments.

    Without arguments a stage of a foreach takes its name from `DVC_STAGE`, for example `train_rnn@lstm`, so that
    no name from params.yaml is part of a command that a shell runs.

    If the environment has variables that change sums, the script starts again without them: numpy and torch have
    already read them.

    torchrun may start a stage whose `run` takes a `place`, in several processes; it gets its `Place`, or None.
    """
    names = compute.changing_variables()
    if torchrun.by_torchrun():  # it sets a number of threads, and its processes set theirs themselves
        names = [name for name in names if name != "OMP_NUM_THREADS"]
    if names and _RESTARTED not in os.environ:
        kept = {name: value for name, value in os.environ.items() if name not in names}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**kept, _RESTARTED: "1"})  # noqa: S606
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    script, takes = Path(sys.argv[0]), list(inspect.signature(run).parameters)[1:]
    several = "place" in takes
    with one_line_errors(script.stem, torchrun.is_silent), interruptible():
        if not arguments and (name := os.environ.get("DVC_STAGE", "").partition(f"{script.stem}@")[2]):
            arguments = [name]
        names = [name for name in takes if name not in paths and name != "place"]
        if len(arguments) != len(names):
            raise UserError(f"usage: python {script} {' '.join(names).upper()}".rstrip())
        place = torchrun.place(script, several)
        from timemachine.pipeline import params  # commands import this module and need no params

        checked = params.load()
        # The processes on a machine share its threads.
        num_threads = max(1, checked.compute.num_threads // (place.num_local if place else 1))
        compute.set_up(checked.compute.model_copy(update={"num_threads": num_threads}))
        given = {key: Path(path) for key, path in paths.items()}
        if place is None:
            _say_position(checked)
        with nullcontext() if place and place.rank else _timed():
            run(checked, *arguments, **given, **({"place": place} if several else {}))


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
