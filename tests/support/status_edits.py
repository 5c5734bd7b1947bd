"""Edits of one leaf of a status each, generated from the schema of the CRD."""

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

from builders import Object

Path = tuple[str | int, ...]

_VALUES: dict[str, list[Any]] = {
    "integer": [-1, 0, 1, 3, 2**31, "x"],
    "number": [-1.0, 0.0, 0.5, 7.5, "x"],
    "boolean": [True, False, "x"],
    "string": ["", "x", "9", "2026-03-01", "2099-01-01T00:00:00Z", "CudaOomLoad", 1],
}
_INT_OR_STRING = ["", "x", "0", "1Gi", "9Ei", -1]


class Edit(NamedTuple):
    """One leaf, and what it is changed to."""

    path: Path
    value: Any

    def __str__(self) -> str:
        """Return it as one word."""
        return f"{'.'.join(map(str, self.path))}={self.value!r}"

    def applied(self, status: Object) -> Object:
        """Return a status with the edit; items of lists that are missing are copies of others."""
        edited: Object = deepcopy(status)
        container: Any = edited
        for part, following in pairwise(self.path):
            empty: Any = [] if following == 0 else {}
            if isinstance(container, list) and not container:
                container.append(empty)
            elif isinstance(container, dict):
                container.setdefault(str(part), empty)
            container = container[part]
        if isinstance(container, list) and not container:
            container.append(self.value)
        else:
            container[self.path[-1]] = self.value
        return edited


def edits(schema: Object, path: Path = ()) -> Iterator[Edit]:
    """Yield several edits for every leaf below a schema."""
    if schema.get("x-kubernetes-int-or-string"):
        yield from (Edit(path, value) for value in _INT_OR_STRING)
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from edits(inner, (*path, name))
    elif "items" in schema:
        yield from edits(schema["items"], (*path, 0))
    else:
        yield from (Edit(path, value) for value in _VALUES[schema["type"]])
