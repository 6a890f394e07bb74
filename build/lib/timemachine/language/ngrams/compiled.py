"""Compilation of loops over tokens to machine code, by numba."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function that only other compiled functions call.

    Without the wrappers for callers in Python and C, all of them compile in half the time. Pass whole arrays and
    indices of rows to such functions: each slice costs an atomic reference count.
    """
    without = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # numba's type hints lack these options
    return cast(Function, njit(error_model="numpy", **without)(function))  # type: ignore[call-overload]


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep the machine code beside its module for the next process.

    The machine code has that of the functions that it calls, but numba looks for changes in the module of
    `function` only. If it calls functions of other modules, it must refer to `SOURCES`, as a variable of its
    closure.
    """
    try:
        return cast(Function, njit(error_model="numpy", cache=True)(function))
    except RuntimeError:  # there is no folder to keep it in
        return cast(Function, njit(error_model="numpy")(function))


def _hash_of_sources() -> str:
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules)).hexdigest()


SOURCES = _hash_of_sources()
