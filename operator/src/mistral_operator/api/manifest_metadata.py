"""The metadata of a manifest, checked as the API server checks that of every object."""

import re
from collections.abc import Mapping
from typing import Any

from mistral_operator.api.resource import NAME_RULE
from mistral_operator.api.suggestions import most_similar, shown_key
from mistral_operator.kube.errors import InvalidResource

_TEXTS = {
    "name", "generateName", "namespace", "uid", "resourceVersion", "selfLink", "creationTimestamp",
    "deletionTimestamp",
}  # fmt: skip
_INTEGERS = {"generation", "deletionGracePeriodSeconds"}
_LISTS = {"ownerReferences", "finalizers", "managedFields"}
_MAPS = {"labels", "annotations"}
_FIELDS = (*sorted(_TEXTS | _INTEGERS | _LISTS), *sorted(_MAPS))

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")

_UNSET: dict[str, Any] = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"}
"""What a manifest need not have, and an object in the cluster has."""


def checked_metadata(metadata: Any) -> dict[str, Any]:
    """Return the metadata of a manifest, with a namespace and a uid.

    Raises:
        InvalidResource: the API server would reject it.
    """
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, Mapping):
        raise InvalidResource("metadata", "must be an object")
    fields = {key: value for key, value in metadata.items() if value is not None}
    for key, value in fields.items():
        _check_field(key, value)
    name = fields.get("name")
    if not name:
        raise InvalidResource("metadata.name", "metadata.name is not set: add one")
    if not NAME_RULE.permits(name):
        raise InvalidResource("metadata.name", NAME_RULE.message)
    return _UNSET | {key: value for key, value in fields.items() if value != ""}


def _check_field(key: str, value: Any) -> None:
    path = f"metadata.{shown_key(key)}"
    if key not in _FIELDS:
        nearest = most_similar(key, _FIELDS)
        hint = f"; did you mean metadata.{nearest}?" if nearest else ""
        raise InvalidResource(path, f"unknown field{hint}")
    if key in _TEXTS:
        _check_text(path, value)
    if key in _INTEGERS and type(value) is not int:
        raise InvalidResource(path, "must be an integer")
    if key in _LISTS and not isinstance(value, list):
        raise InvalidResource(path, "must be a list")
    if key == "namespace" and value and not _NAMESPACE.fullmatch(value):
        raise InvalidResource(
            path, "use at most 63 lowercase letters, digits and '-', such as team-a"
        )
    if key in _MAPS:
        _check_map(path, value, labels=key == "labels")


def _check_map(path: str, value: Any, *, labels: bool) -> None:
    if not isinstance(value, dict):
        raise InvalidResource(path, "must be an object")
    for key, text in value.items():
        here = f"{path}.{shown_key(key)}"
        if not _KEY.fullmatch(key):
            raise InvalidResource(here, "write the key as name or prefix/name")
        _check_text(here, text)
        if labels and not _LABEL.fullmatch(text):
            raise InvalidResource(
                here, "a label has at most 63 letters, digits, '-', '_' and '.', such as team-a"
            )


def _check_text(path: str, value: Any) -> None:
    if isinstance(value, dict | list):
        raise InvalidResource(path, "must be a string")
    if not isinstance(value, str):
        raise InvalidResource(path, "must be a string: put the value in quotes")
