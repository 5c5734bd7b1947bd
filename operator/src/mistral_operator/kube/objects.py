"""Objects as the API server returns them, and their owning resources."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from mistral_operator.kube import names

Body = Mapping[str, Any]
"""An object as the API server returns it."""


_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
"""Annotations, of which Kubernetes honors the former one as well."""


class Key(NamedTuple):
    """Namespace and name of an object."""

    namespace: str
    name: str


def key_of(body: Body) -> Key:
    """Return namespace and name of an object."""
    metadata = body["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def labeled_owner(body: Body) -> Key | None:
    """Return the resource in the label of an object, None without the label."""
    metadata = body["metadata"]
    owner = names.owner_of(metadata.get("labels") or {})
    return None if owner is None else Key(metadata["namespace"], owner)


def shared_text(text: str) -> str:
    """Return a text that many objects have, such as a label of nodes, as one string in memory."""
    return sys.intern(text)


def is_default_class(storage_class: Body) -> bool:
    """Return whether claims that name no StorageClass get this one."""
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(one) == "true" for one in _DEFAULT_CLASS)
