"""Progress of long work: a bar on a terminal, plain lines now and then elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows how far a stage is; a context manager.

    Args:
        name: what is under way.
        total: number of epochs.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        self._bar = tqdm(total=total, desc=name, unit="epoch") if sys.stderr.isatty() else None
        self._last_line_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, epoch: int, **values: float) -> None:
        """Show that `epoch` is done, with some values beside it, named as given."""
        text = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(epoch - self._bar.n)
            return
        now = time.monotonic()
        if epoch in (1, self.total) or now - self._last_line_s >= _SECONDS_BETWEEN_LINES:
            self._last_line_s = now
            print(f"{self.name}: epoch {epoch}/{self.total}, {text}", file=sys.stderr, flush=True)


def _short(value: float) -> str:
    if value < 1000:
        return f"{value:.3f}"
    return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"
