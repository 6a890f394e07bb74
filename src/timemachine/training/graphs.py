"""CUDA graphs: all kernels of a step in one launch.

A recurrent network runs hundreds of small kernels for a minibatch, and a GPU finishes them sooner than Python can
launch them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from timemachine.training.state import State, mapped

# Calls of each shape before the capture. They set up cuDNN and cuBLAS, and create the optimizer's state.
_NUM_ORDINARY = 2


class Captured:
    """A function of tensors on a GPU that runs as a CUDA graph, one for each combination of shapes.

    The first calls of each combination run the function itself. A graph then repeats the operations of one call.
    They must not depend on anything else than the shapes, and all numbers must come from the arguments, from
    tensors that keep their place in memory, and from `generators`.

    Args:
        function: maps tensors, or tuples of them and None, to such, which have no gradient.
        device: the GPU.
        generators: those of the GPU that the function draws from.
    """

    def __init__(
        self, function: Callable[..., Any], device: torch.device, generators: Iterable[Generator] = ()
    ) -> None:
        self._function, self._generators = function, list(generators)
        self._stream = _stream_of(device)
        self._num_calls = Counter[Any]()
        self._graphs: dict[Any, tuple[torch.cuda.CUDAGraph, State, Any]] = {}

    def __call__(self, *arguments: State) -> Any:
        """Return what the function returns; the next call may overwrite it."""
        key = mapped(lambda tensor: (tensor.shape, tensor.dtype), arguments)
        if key not in self._graphs:
            self._num_calls[key] += 1
            if self._num_calls[key] <= _NUM_ORDINARY:
                return self._call(arguments)
            self._graphs[key] = self._capture(arguments)
        graph, inputs, outputs = self._graphs[key]
        for kept, given in zip(_tensors(inputs), _tensors(arguments), strict=True):
            kept.copy_(given)
        graph.replay()
        return outputs

    def _call(self, arguments: tuple[State, ...]) -> Any:
        """Run the function on the stream of the capture, which autograd and the libraries then know."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = self._function(*arguments)
        current.wait_stream(self._stream)
        return outputs

    def _capture(self, arguments: tuple[State, ...]) -> tuple[torch.cuda.CUDAGraph, State, Any]:
        graph, inputs = torch.cuda.CUDAGraph(), mapped(torch.clone, arguments)
        for generator in self._generators:
            graph.register_generator_state(generator)
        # Only this thread is kept from calls that a capture forbids; another one may ask for the free memory.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            outputs = self._function(*inputs)
        return graph, inputs, outputs


@cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all captures; a new one each time would get new memory from cuBLAS, 32 MiB."""
    return torch.cuda.Stream(device)


def _tensors(state: State) -> Iterator[Tensor]:
    if isinstance(state, tuple):
        for part in state:
            yield from _tensors(part)
    elif state is not None:
        yield state
