"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere.

Library functions report to a callback `show(done, total, what)`, which only notes its arguments. A thread prints
them, so that lines appear, and the clock of the bar goes on, while one step takes long.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}{postfix}]"
_SECONDS_BETWEEN_BARS = 0.5


@contextmanager
def show_progress(
    name: str, steady: bool = False, interval_s: float = 10.0
) -> Iterator[Callable[[int, int, str], None]]:
    """Show the progress of a block, and yield the function that it reports to: `show(done, total, what)`.

    `what` names the steps that are counted; after a comma it may say what is under way or was found. Work in
    several phases counts the steps of each from 0. Where standard error is not a terminal, a line is printed every
    `interval_s`, and one at the end unless the block raises an exception.

    Args:
        name: what is under way.
        steady: whether all steps take about as long, so that the bar can estimate the time that is left.
        interval_s: seconds between two lines.
    """
    begin_s, over = time.monotonic(), threading.Event()
    # tqdm draws nothing on a terminal that does not tell its size, as that of `script` or of a container may not.
    is_terminal = sys.stderr.isatty() and all(os.get_terminal_size(sys.stderr.fileno()))
    bar_format = _BAR.replace("{elapsed}", "{elapsed}<{remaining}") if steady else _BAR
    noted: tuple[int, int, str] | None = None
    bar: tqdm[NoReturn] | None = None

    def show(done: int, total: int, what: str) -> None:
        nonlocal noted
        noted = done, total, what

    def say() -> None:
        nonlocal bar
        if noted is None:
            return
        done, total, what = noted
        if is_terminal:
            unit, _, rest = what.partition(", ")
            if bar is None:
                bar = tqdm(desc=name, total=total, unit=unit, bar_format=bar_format, dynamic_ncols=True)
            bar.n, bar.total, bar.unit = done, total, unit
            bar.set_postfix_str(rest)
        else:
            seconds = time.monotonic() - begin_s
            print(f"{name}: {done:,}/{total:,} {what} ({seconds:.0f} s)", file=sys.stderr, flush=True)

    def keep_saying() -> None:
        while not over.wait(_SECONDS_BETWEEN_BARS if is_terminal else interval_s):
            say()

    thread = threading.Thread(target=keep_saying, daemon=True)
    thread.start()
    try:
        yield show
        over.set()
        thread.join()
        say()
    finally:
        over.set()
        thread.join()
        if bar is not None:
            bar.close()


def named(values: Mapping[str, float]) -> str:
    """Return values with their names, for example `perplexity 1.500, tokens/s 12,346`."""
    texts = (f"{name.replace('_per_', '/').replace('_', ' ')} {_short(value)}" for name, value in values.items())
    return ", ".join(texts)


def _short(value: float) -> str:
    if value < 1000:
        return f"{value:.3f}"
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"
