"""What vLLM's n-grams need of numba, without the compiler.

numba compiles functions that Python can run as they are. The CPU engine leaves it out for its
178 MB, so a test that puts this folder on the engine's PYTHONPATH runs them uncompiled.
"""

from collections.abc import Callable
from typing import Any

prange = range


def njit(**_: Any) -> Callable[[Any], Any]:
    """Return a decorator that changes nothing."""
    return lambda function: function


jit = njit


def get_num_threads() -> int:
    """Return the number of threads of one interpreter."""
    return 1


def set_num_threads(_: int) -> None:
    """Leave it at one thread."""
