"""How much memory a request takes in the activator. Pure.

The figures are upper bounds of what tests/bench/test_activator.py measures.
"""

_BASE = 16 * 1024
"""Objects of the request, its task and its connection."""
_PER_HEAD_BYTE = 4
"""Headers exist as bytes, as text and in two maps."""
_BUFFERED = 160 * 1024
"""Most that is read of a body that waits; the rest stays with the client."""


def memory_of_request(head_bytes: int, body_bytes: int | None) -> int:
    """Return the bytes of memory that a queued or forwarded request takes at most.

    Args:
        head_bytes: size of its headers.
        body_bytes: size of its body, None if the client did not announce it.
    """
    buffered = _BUFFERED if body_bytes is None else min(2 * body_bytes, _BUFFERED)
    return _BASE + _PER_HEAD_BYTE * head_bytes + buffered
