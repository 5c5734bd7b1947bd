"""Whom the user of a kubeconfig impersonates, as headers of requests. Pure.

The official client does not know these fields of a kubeconfig, and kubectl sends them. The names of
the headers are those of https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

Headers = list[tuple[str, str]]

_LEGAL_BYTES = "!#$&'*+-.^_`|~"
"""Bytes of a header's name beside letters and digits, as client-go escapes a key: without `%`."""


def impersonation_headers(user: Mapping[str, Any]) -> Headers:
    """Return the headers of the fields `as`, `as-uid`, `as-groups` and `as-user-extra`.

    Raises:
        ValueError: a field cannot be sent.
    """
    name = _text(user, "as")
    headers = [("Impersonate-User", name)] if name else []
    if uid := _text(user, "as-uid"):
        headers.append(("Impersonate-Uid", uid))
    headers += [("Impersonate-Group", one) for one in _groups(user)]
    headers += _extra(user)
    if headers and not name:
        (field, *_) = (one for one in ("as-uid", "as-groups", "as-user-extra") if user.get(one))
        raise ValueError(f"{field} without as: a user to impersonate is missing")
    return headers


def _text(user: Mapping[str, Any], field: str) -> str:
    value = user.get(field) or ""
    if not _is_text(value):
        raise ValueError(f"{field} is not a text of one line")
    return str(value)


def _groups(user: Mapping[str, Any]) -> list[str]:
    groups = user.get("as-groups") or []
    if not _are_texts(groups):
        raise ValueError("as-groups is not a list of texts")
    return list(groups)


def _extra(user: Mapping[str, Any]) -> Headers:
    extra = user.get("as-user-extra") or {}
    if not isinstance(extra, Mapping) or not all(map(_are_texts, extra.values())):
        raise ValueError("as-user-extra is not a map of lists of texts")
    return [
        (f"Impersonate-Extra-{quote(str(key), safe=_LEGAL_BYTES)}", value)
        for key, values in extra.items()
        for value in values
    ]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))
