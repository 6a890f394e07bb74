"""How a script becomes a stage: parameters in, one line out if they, or the data, are wrong."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timemachine import params


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
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"{name}: error: {' '.join(str(error).split()) or 'out of memory'}")
    except RuntimeError as error:
        # So torch calls what it cannot allocate; everything else is a fault of the program.
        if "memory" not in str(error):
            raise
        sys.exit(f"{name}: error: out of memory: {str(error).splitlines()[0]}")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Put in front of a `ValueError` what it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def main(run: Callable[..., None], **paths: str) -> None:
    """Call a stage's `run` with the checked params, the given paths and the script's own arguments.

    Without arguments a stage of a foreach takes its name from `DVC_STAGE`, for example `train_rnn@lstm`, so that
    no name from params.yaml stands in a command that a shell runs.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    script = Path(sys.argv[0])
    with one_line_errors(script.stem):
        if not arguments and (name := os.environ.get("DVC_STAGE", "").partition(f"{script.stem}@")[2]):
            arguments = [name]
        names = [name for name in list(inspect.signature(run).parameters)[1:] if name not in paths]
        if len(arguments) != len(names):
            raise ValueError(f"usage: python {script} {' '.join(names).upper()}".rstrip())
        run(params.load(), *arguments, **{key: Path(path) for key, path in paths.items()})


def entry(section: dict[str, Any], name: str, key: str) -> Any:
    """Return `section[name]`; an unknown name is a `ValueError` that lists the known ones."""
    if name not in section:
        raise ValueError(f"params.yaml: {key}: no entry {name!r}; known: {', '.join(section)}")
    return section[name]
