"""Takes out of objects and texts what others must not see. Pure.

`public_text` hides what has the form of a secret. Values that users choose freely, such as those of
environment variables and of foreign annotations, may be secrets of any form and are hidden as a
whole.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mistral_operator.kube.names import GROUP
from mistral_server.contract import (
    ENDPOINT_ENV,
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    public_text,
)
from mistral_server.contract.public_text import HIDDEN

_LONGEST_TEXT = 20_000
_LONGEST_LINE = 4096
_OWN_VARIABLES = {ENDPOINT_ENV, FETCH_SETTINGS_ENV, SERVER_SETTINGS_ENV}
_OPERATOR_VARIABLES = ("MISTRAL_OPERATOR_", "MISTRAL_ACTIVATOR_")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def public_object(body: Mapping[str, Any], secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Return an object without managed fields, values of variables and foreign annotations.

    Args:
        body: as the API server has it; never a Secret or a ConfigMap.
        secrets: values that are hidden wherever they are.
    """
    metadata = {
        key: value for key, value in (body.get("metadata") or {}).items() if key != "managedFields"
    }
    return public_document({**body, "metadata": metadata}, secrets)


def public_document(document: Mapping[str, Any], secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Return a document that is no object of Kubernetes without secrets."""
    result: dict[str, Any] = _public(document, tuple(secrets))
    return result


def _public(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return public_text(value, _LONGEST_TEXT, secrets)
    if isinstance(value, list):
        return [_public(one, secrets) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        public_text(str(key), _LONGEST_LINE): _public(_hidden_parts(str(key), one), secrets)
        for key, one in value.items()
    }


def _hidden_parts(key: str, value: Any) -> Any:
    if key == "env" and isinstance(value, list):
        return [_variable(one) for one in value]
    if key in {"annotations", "serviceAccountAnnotations"} and isinstance(value, Mapping):
        return {
            name: text if _is_public_annotation(name) else HIDDEN
            for name, text in value.items()
            if name != _LAST_APPLIED
        }
    return value


def _variable(variable: Any) -> Any:
    if not isinstance(variable, Mapping) or "value" not in variable:
        return variable
    if not _is_own(variable):
        return {**variable, "value": HIDDEN}
    document = _document(variable["value"])
    if document is None:
        return variable
    return {**variable, "value": json.dumps(_public(document, ()))}


def _is_own(variable: Mapping[str, Any]) -> bool:
    name = str(variable.get("name"))
    return name in _OWN_VARIABLES or name.startswith(_OPERATOR_VARIABLES)


def _document(text: Any) -> Any:
    """Return the JSON that a setting is, such as `endpoints.pod` of the chart, or None."""
    try:
        document = json.loads(str(text))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def _is_public_annotation(name: str) -> bool:
    domain = name.partition("/")[0] if "/" in name else ""
    return domain == GROUP or domain == "kubernetes.io" or domain.endswith((".kubernetes.io",))


def values_of_variables(body: Any) -> Iterator[str]:
    """Yield the values of variables in an object, which a log may repeat in any of their forms."""
    if isinstance(body, list):
        for one in body:
            yield from values_of_variables(one)
    elif isinstance(body, Mapping):
        for key, value in body.items():
            if key == "env" and isinstance(value, list):
                for one in value:
                    yield from _values_of_variable(one)
            else:
                yield from values_of_variables(value)


def _values_of_variable(variable: Any) -> Iterator[str]:
    if not isinstance(variable, Mapping) or "value" not in variable:
        return
    if _is_own(variable):
        yield from values_of_variables(_document(variable["value"]))
    else:
        yield str(variable["value"])


def public_lines(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of several lines, such as a log, without secrets."""
    values, lines, in_key = tuple(secrets), list[str](), False
    for line in text.splitlines():
        begins = "-----BEGIN " in line and "PRIVATE KEY" in line
        if in_key or begins:
            lines.append(HIDDEN)
            in_key = "-----END " not in line
        else:
            lines.append(public_text(line, _LONGEST_LINE, values))
    return "".join(f"{line}\n" for line in lines)
