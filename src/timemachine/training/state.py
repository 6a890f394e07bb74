"""The state that every module takes and returns.

Every module maps `(X, state)` to `(output, state)`. `None` is the state at the beginning of a text; modules
without memory take and return `None`. The state of an LSTM is a pair of tensors, that of other cells one tensor.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

State = Tensor | tuple["State", ...] | None


def mapped(function: Callable[[Tensor], Any], state: State) -> Any:
    """Return a state with each of its tensors replaced by the function of it."""
    if isinstance(state, tuple):
        return tuple(mapped(function, part) for part in state)
    return None if state is None else function(state)


def detach(state: State) -> State:
    """Return the state detached from the graph that computed it."""
    detached: State = mapped(Tensor.detach, state)
    return detached
