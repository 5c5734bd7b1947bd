"""The texts of a document, to look for what none may hold."""

from collections.abc import Iterator


def texts(value: object) -> Iterator[str]:
    """Yield every text of a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
