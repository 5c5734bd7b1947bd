"""Takes out of objects and texts what others must not see. Pure.

`public_text` hides what has the form of a secret, `hidden_parts` what may be one of any form.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mistral_operator.plugin.hidden_parts import LABELS, NAMES, without_hidden_parts
from mistral_server.contract import public_text
from mistral_server.contract.public_text import HIDDEN

_LONGEST_TEXT = 20_000
_LONGEST_LINE = 4096
_KEY_LINES = 100
"""Lines of the longest private key: RSA with 4096 bits has 52, with 8192 bits 100."""


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
    result: dict[str, Any] = _public(
        without_hidden_parts(document, lambda _: HIDDEN), tuple(secrets)
    )
    return result


def _public(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return public_text(value, _LONGEST_TEXT, secrets)
    if isinstance(value, list):
        return [_public(one, secrets) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {
        public_text(str(key), _LONGEST_LINE): _public(
            one, () if key in LABELS or (key in NAMES and isinstance(one, str)) else secrets
        )
        for key, one in value.items()
    }


def public_lines(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of several lines, such as a log, without secrets."""
    values, lines, in_key = tuple(secrets), list[str](), False
    for line in text.removesuffix("\n").split("\n"):
        begins = "-----BEGIN " in line and "PRIVATE KEY" in line
        ends = "-----END " in line and "PRIVATE KEY" in line
        if ends and not in_key and not begins:
            # The log begins within the key, whose first line was cut off.
            lines[-_KEY_LINES:] = [HIDDEN] * len(lines[-_KEY_LINES:])
        if in_key or begins or ends:
            lines.append(HIDDEN)
            in_key = "-----END " not in line
        else:
            lines.append(public_text(line, _LONGEST_LINE, values))
    return "".join(f"{line}\n" for line in lines)
