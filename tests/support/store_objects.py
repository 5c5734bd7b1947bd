"""Objects for the store that belong to a resource by their label."""

from typing import Any

from builders import (
    NAME,
    NAMESPACE,
)
from mistral_operator.kube import names
from mistral_operator.kube.objects import Key

OWNER = Key(NAMESPACE, NAME)
OTHER = Key(NAMESPACE, "other")

Object = dict[str, Any]


def thing(name: str = "one", version: int = 1, owner: str | None = NAME, **fields: Any) -> Object:
    """Return an object that belongs to a resource by its label."""
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "resourceVersion": str(version),
            "labels": {names.LABEL_DEPLOYMENT: owner} if owner else {},
        },
        **fields,
    }


def owner_by_label(body: Any) -> Key | None:
    """Return the resource that a thing belongs to."""
    owner = names.owner_of(body["metadata"]["labels"])
    return None if owner is None else Key(NAMESPACE, owner)
