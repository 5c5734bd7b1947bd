"""Parts of objects whose values users choose freely and that are hidden as a whole. Pure.

The name that marks a value as a secret may be beside it: in the key, in the option before it, or in
the field `name` of the same object.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mistral_operator.kube.names import GROUP
from mistral_server.contract import ENDPOINT_ENV, FETCH_SETTINGS_ENV, SERVER_SETTINGS_ENV
from mistral_server.contract.public_text import HIDDEN

Hide = Callable[[str], str]
"""Returns what is shown in place of a value."""

_OWN_VARIABLES = {ENDPOINT_ENV, FETCH_SETTINGS_ENV, SERVER_SETTINGS_ENV}
_OPERATOR_VARIABLES = ("MISTRAL_OPERATOR_", "MISTRAL_ACTIVATOR_")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ANNOTATIONS = {"annotations", "serviceAccountAnnotations"}
_FREE = {"volumeAttributes", "options"}
"""Settings of volume drivers."""
_SECRET_NAME = re.compile(
    r"(?:(?:password|passwd|passphrase|pwd|credential|authorization|cookie"
    r"|(?:api|private|access|account|auth|encryption)[-_]?key)s?|token|secret)$",
    re.IGNORECASE,
)
# Not "tokens": these are counts.
_NAMES_OF_SECRETS = {"secret", "tokenSecret"}
"""Fields of resources whose value is the name of a Secret."""
NAMES = {"kind", "name", "namespace", "nodeName", "phase", "reason", "type"}
"""Fields that make an archive readable, and that are public in every cluster."""
LABELS = {"labels", "matchLabels", "nodeSelector"}
_OPTION = re.compile(r"--?[\w.-]+$")


def without_hidden_parts(value: Any, hide: Hide, key: str = "") -> Any:
    """Return a value of JSON with its hidden parts replaced.

    Args:
        value: an object or a part of one.
        hide: is called with each text that is hidden and that a log may repeat.
        key: under which the value is.
    """
    if isinstance(value, str):
        return hide(value) if _marks(key) else value
    if isinstance(value, list):
        return list(_entries(value, hide, key))
    if not isinstance(value, Mapping):
        return value
    if key in _ANNOTATIONS:
        return _annotations(value)
    if isinstance(value.get("value"), str) and _marks(str(value.get("name"))):
        value = {**value, "value": hide(value["value"])}
    return {
        name: hide(one)
        if key in _FREE and isinstance(one, str)
        else without_hidden_parts(one, hide, str(name))
        for name, one in value.items()
    }


def _marks(name: str) -> bool:
    return name not in _NAMES_OF_SECRETS and _SECRET_NAME.search(name) is not None


def _entries(entries: list[Any], hide: Hide, key: str) -> Iterator[Any]:
    before = ""
    for one in entries:
        if key == "env":
            yield _variable(one, hide)
        elif key == "httpHeaders" and isinstance(one, Mapping) and "value" in one:
            yield {**one, "value": hide(str(one["value"]))}
        elif isinstance(one, str) and _OPTION.match(before) and not one.startswith("-"):
            yield hide(one) if _marks(before) else one
        else:
            yield without_hidden_parts(one, hide, key)
        before = one if isinstance(one, str) else ""


def _annotations(annotations: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: text if _is_public_annotation(name) else HIDDEN
        for name, text in annotations.items()
        if name != _LAST_APPLIED
    }


def _is_public_annotation(name: str) -> bool:
    domain = name.partition("/")[0] if "/" in name else ""
    return domain == GROUP or domain == "kubernetes.io" or domain.endswith((".kubernetes.io",))


def _variable(variable: Any, hide: Hide) -> Any:
    if not isinstance(variable, Mapping) or "value" not in variable:
        return variable
    name, text = str(variable.get("name")), str(variable["value"])
    if name not in _OWN_VARIABLES and not name.startswith(_OPERATOR_VARIABLES):
        return {**variable, "value": hide(text)}
    document = _document(text)
    if document is None:
        return variable
    return {**variable, "value": json.dumps(without_hidden_parts(document, hide))}


def _document(text: str) -> Any:
    """Return the JSON that a setting is, such as `endpoints.pod` of the chart, or None."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def visible_names(body: Any, key: str = "") -> Iterator[str]:
    """Yield names, labels and states in an object, which are public in every cluster."""
    if isinstance(body, str):
        if key in NAMES or key in LABELS:
            yield body
    elif isinstance(body, list):
        for one in body:
            yield from visible_names(one, key)
    elif isinstance(body, Mapping):
        for name, one in body.items():
            yield from visible_names(one, key if key in LABELS else str(name))


def hidden_values(body: Any) -> list[str]:
    """Return the values that are hidden in an object and that a log may repeat."""
    values = list[str]()

    def hide(text: str) -> str:
        values.append(text)
        return HIDDEN

    without_hidden_parts(body, hide)
    return values
