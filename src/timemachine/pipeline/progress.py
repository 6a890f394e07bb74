"""Progress of long work: a bar on a terminal, plain lines now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress(name: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function that shows that an epoch is done: `update(epoch, **values)` with values named as given.

    Args:
        name: what is under way.
        total: number of epochs.
    """
    last_line_s = time.monotonic()
    with tqdm(total=total, desc=name, unit="epoch", disable=not sys.stderr.isatty()) as bar:

        def update(epoch: int, **values: float) -> None:
            nonlocal last_line_s
            text = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items())
            now = time.monotonic()
            if not bar.disable:
                bar.set_postfix_str(text, refresh=False)
                bar.update(epoch - bar.n)
            elif epoch in (1, total) or now - last_line_s >= _SECONDS_BETWEEN_LINES:
                last_line_s = now
                print(f"{name}: epoch {epoch}/{total}, {text}", file=sys.stderr, flush=True)

        yield update


def _short(value: float) -> str:
    if value < 1000:
        return f"{value:.3f}"
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"
