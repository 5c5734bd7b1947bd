"""Objects as the API server sends them, and which resource one belongs to."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mistral_operator.kube import names

Body = Mapping[str, Any]
"""An object as the API server sends it."""


class Key(NamedTuple):
    """Identity of a resource in the queue."""

    namespace: str
    name: str


def key_of(body: Body) -> Key:
    """Return namespace and name of an object."""
    metadata = body["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def labelled_owner(body: Body) -> Key | None:
    """Return the resource that an object belongs to by its label, None if it bears none."""
    metadata = body["metadata"]
    owner = names.owner_of(metadata.get("labels", {}))
    return None if owner is None else Key(metadata["namespace"], owner)
