"""The one state contract.

Every module maps `(X, state)` to `(output, state)`. A state of `None` means "from the beginning"; modules
without memory take and return `None`; the LSTM's state is a pair of tensors, a mixture's has a state for each
of its models, all others' is one tensor.
"""

from torch import Tensor

State = Tensor | tuple["State", ...] | None


def detach(state: State) -> State:
    """Return the state cut off from the graph that made it."""
    if isinstance(state, tuple):
        return tuple(detach(part) for part in state)
    return None if state is None else state.detach()
