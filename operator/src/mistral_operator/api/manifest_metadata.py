"""The metadata of a manifest, checked as the API server checks that of every object."""

import re
from collections.abc import Mapping
from typing import Any

from mistral_operator.api.resource import NAME_RULE
from mistral_operator.api.suggestions import most_similar, shown_key
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.timestamps import parse_time

_TEXTS = {
    "name", "generateName", "namespace", "uid", "resourceVersion", "selfLink", "creationTimestamp",
    "deletionTimestamp",
}  # fmt: skip
_INTEGERS = {"generation", "deletionGracePeriodSeconds"}
_LISTS = {"ownerReferences", "finalizers", "managedFields"}
_MAPS = {"labels", "annotations"}
_FIELDS = (*sorted(_TEXTS | _INTEGERS | _LISTS), *sorted(_MAPS))

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(
    r"((?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")

_TIMES = {"creationTimestamp", "deletionTimestamp"}
_OWNER = ("apiVersion", "kind", "name", "uid")
_MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values together, the limit of the API server."""

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
    if key in _TIMES:
        _check_time(path, value)
    if key in _LISTS:
        _check_list(path, value, owners=key == "ownerReferences")
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

    size = sum(len(f"{key}{text}".encode()) for key, text in value.items())
    if not labels and size > _MAX_ANNOTATIONS:
        raise InvalidResource(path, f"{size} bytes are more than the {_MAX_ANNOTATIONS} allowed")


def _check_list(path: str, value: Any, *, owners: bool) -> None:
    if not isinstance(value, list):
        raise InvalidResource(path, "must be a list")
    for number, item in enumerate(value):
        here = f"{path}[{number}]"
        if not owners and path.endswith(".finalizers"):
            _check_text(here, item)
        elif not isinstance(item, dict):
            raise InvalidResource(here, "must be an object")
        missing = [one for one in _OWNER if owners and not item.get(one)]
        if missing:
            raise InvalidResource(here, f"{missing[0]} is not set: add it")


def _check_time(path: str, value: Any) -> None:
    try:
        parse_time(value)
    except ValueError as error:
        raise InvalidResource(
            path, f"{value!r} is not a time such as 2026-03-01T12:00:00Z"
        ) from error


def _check_text(path: str, value: Any) -> None:
    if isinstance(value, dict | list):
        raise InvalidResource(path, "must be a string")
    if not isinstance(value, str):
        raise InvalidResource(path, "must be a string: put the value in quotes")
