"""Change the body of a chat request without reading what is not looked at.

Pure. A request may hold ten images of megabytes in base64: the outer object is taken apart into raw
pieces, of the messages only the roles are decoded, and everything else is copied as it came.
"""

import json

import msgspec

_SYSTEM_ROLES = frozenset({"system", "developer"})


class _Role(msgspec.Struct):
    role: str


_outer = msgspec.json.Decoder(dict[str, msgspec.Raw])
_roles = msgspec.json.Decoder(list[_Role])


def with_system_message(body: bytes, prompt: str | None) -> bytes:
    """Return the body with `prompt` as the first message, unless it has a system message.

    The very same object comes back if there is nothing to change, or if the body is not a chat that
    this function understands: telling the client so is the application's business.
    """
    if not prompt:
        return body
    try:
        fields = _outer.decode(body)
        messages = fields["messages"]
        roles = [message.role for message in _roles.decode(messages)]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError):
        return body
    if not roles or not _SYSTEM_ROLES.isdisjoint(roles):
        return body
    system = json.dumps({"role": "system", "content": prompt}).encode()
    rest = bytes(messages).lstrip()[1:]  # it is a list that is not empty
    fields["messages"] = msgspec.Raw(b"[" + system + b"," + rest)
    return msgspec.json.encode(fields)
