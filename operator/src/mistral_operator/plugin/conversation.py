"""A conversation with an endpoint: requests, and what its streams mean. Pure."""

import json
from collections.abc import Sequence
from typing import Any

Message = dict[str, str]

_DATA = "data:"
_LONGEST_ERROR = 500
"""Characters of an error that are shown."""


def request_of(model: str, messages: Sequence[Message], max_tokens: int | None) -> dict[str, Any]:
    """Return the body of a streaming chat request."""
    limit = {} if max_tokens is None else {"max_tokens": max_tokens}
    return {"model": model, "messages": list(messages), "stream": True, **limit}


def is_end(line: str) -> bool:
    """Return whether a line ends a stream; one that fails may break off without it."""
    return line.startswith(_DATA) and line.removeprefix(_DATA).strip() == "[DONE]"


def error_of_event(line: str) -> str | None:
    """Return the error in a line of a stream, None if it has none.

    The status of a response is sent before its first token, so a later failure is an event.
    """
    document = _event(line)
    error = document if document.get("object") == "error" else document.get("error")
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or json.dumps(error))[:_LONGEST_ERROR]


def text_of_event(line: str) -> str:
    """Return the text in a line of a stream, empty if it has none."""
    choices = _event(line).get("choices")
    parts = [
        (one.get("delta") or {}).get("content")
        for one in (choices if isinstance(choices, list) else ())
        if isinstance(one, dict)
    ]
    return "".join(one for one in parts if isinstance(one, str))


def error_of_answer(status: int, text: str) -> str:
    """Return why a request was rejected, as OpenAI's format says it."""
    error = _document(text).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return f"{status}: {message or text[:_LONGEST_ERROR]}"


def shown(text: str) -> str:
    """Return a text of the model without characters that control the terminal."""
    return "".join(one for one in text if one in "\n\t" or one.isprintable())


def _event(line: str) -> dict[str, Any]:
    return _document(line.removeprefix(_DATA)) if line.startswith(_DATA) else {}


def _document(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
