"""Change the messages of a chat without decoding their contents. Pure.

A request may contain ten images of several megabytes in base64, so contents are copied as raw JSON.
"""

import hashlib
import json
import string

import msgspec

from mistral_server.gate.tool_calls import CALL_ID

_ROLES = frozenset({"assistant", "developer", "function", "system", "tool", "user"})
_SYSTEM_ROLES = frozenset({"system", "developer"})
_ALPHABET = string.digits + string.ascii_letters


class _CallFunction(msgspec.Struct):
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _CallFunction | None = None


class _Message(msgspec.Struct):
    role: str
    tool_call_id: str | None = None
    tool_calls: list[_Call] | None = None


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


class Messages:
    """The messages of one request.

    Raises:
        msgspec.MsgspecError: they are not a list of messages.
    """

    def __init__(self, raw: msgspec.Raw) -> None:
        self._raw = raw
        try:
            self._messages = _decode_messages(raw)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            raise msgspec.ValidationError(f"{reason} - at `messages{path or '`'}") from None
        if any(message.role not in _ROLES for message in self._messages):
            # vLLM would write the role to its log, and a client may have put anything into it.
            roles = ", ".join(sorted(_ROLES))
            raise msgspec.ValidationError(f"the role of a message is none of {roles}")
        self._parts: list[msgspec.Raw] | None = None

    def encoded(self) -> msgspec.Raw | None:
        """Return the messages, or None if they are unchanged."""
        return None if self._parts is None else msgspec.Raw(_encode(self._parts))

    @property
    def has_system(self) -> bool:
        """Whether there is a system message."""
        return any(message.role in _SYSTEM_ROLES for message in self._messages)

    def add_system(self, prompt: str) -> bool:
        """Insert a system message, unless there is one or there are no messages."""
        if not self._messages or self.has_system:
            return False
        text = json.dumps({"role": "system", "content": prompt})
        self._change().insert(0, msgspec.Raw(text.encode()))
        self._messages.insert(0, _Message("system"))
        return True

    def rename_developer(self) -> bool:
        """Change the role `developer` to `system`; return whether there was one."""
        positions = [at for at, message in enumerate(self._messages) if message.role == "developer"]
        for at in positions:
            self._messages[at].role = "system"
            self._set(at, role="system")
        return bool(positions)

    def normalize_ids(self) -> bool:
        """Convert tool call ids to the model's format; return whether any changed."""
        changed = False
        for at, message in enumerate(self._messages):
            if message.tool_call_id and not CALL_ID.fullmatch(message.tool_call_id):
                self._set(at, tool_call_id=normal_id(message.tool_call_id))
                changed = True
            if any(call.id and not CALL_ID.fullmatch(call.id) for call in message.tool_calls or ()):
                self._normalize_calls(at)
                changed = True
        return changed

    def _normalize_calls(self, at: int) -> None:
        calls = _decode_raw(_decode_fields(self._change()[at])["tool_calls"])
        changed = []
        for call in calls:
            fields = _decode_fields(call)
            call_id = msgspec.json.decode(call, type=_Call).id
            if call_id is not None:
                fields["id"] = _raw(normal_id(call_id))
            changed.append(fields)
        self._set(at, tool_calls=changed)

    def _change(self) -> list[msgspec.Raw]:
        if self._parts is None:
            self._parts = _decode_raw(self._raw)
        return self._parts

    def _set(self, at: int, **values: object) -> None:
        parts = self._change()
        fields = _decode_fields(parts[at])
        parts[at] = _raw(fields | {name: _raw(value) for name, value in values.items()})


def normal_id(call_id: str) -> str:
    """Return nine letters and digits for an id: a valid id unchanged, others by their hash."""
    if CALL_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.blake2b(call_id.encode(), digest_size=8).digest())
    digits = []
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
