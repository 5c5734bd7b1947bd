"""Takes out of objects and texts what others must not see. Pure.

`public_text` hides what has the form of a secret. Values that users choose freely, such as those of
environment variables and of foreign annotations, may be secrets of any form and are hidden as a
whole.
"""

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
_SHORTEST_VALUE = 6
"""Characters of the shortest value of a variable that is hidden in logs too: others are words."""


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
    name = str(variable.get("name"))
    if name in _OWN_VARIABLES or name.startswith(_OPERATOR_VARIABLES):
        return variable
    return {**variable, "value": HIDDEN}


def _is_public_annotation(name: str) -> bool:
    domain = name.partition("/")[0] if "/" in name else ""
    return domain == GROUP or domain == "kubernetes.io" or domain.endswith((".kubernetes.io",))


def values_of_variables(body: Any) -> Iterator[str]:
    """Yield the values of variables in an object, which a log may repeat."""
    if isinstance(body, list):
        for one in body:
            yield from values_of_variables(one)
    elif isinstance(body, Mapping):
        for key, value in body.items():
            if key == "env" and isinstance(value, list):
                hidden = (one for one in value if _variable(one) != one)
                yield from (
                    one["value"] for one in hidden if len(str(one["value"])) >= _SHORTEST_VALUE
                )
            else:
                yield from values_of_variables(value)


def public_lines(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of several lines, such as a log, without secrets."""
    values, lines, in_key = tuple(secrets), list[str](), False
    for line in text.removesuffix("\n").split("\n"):
        begins = "-----BEGIN " in line and "PRIVATE KEY" in line
        if in_key or begins:
            lines.append(HIDDEN)
            in_key = "-----END " not in line
        else:
            lines.append(public_text(line, _LONGEST_LINE, values))
    return "".join(f"{line}\n" for line in lines)
