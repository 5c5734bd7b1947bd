"""The text of a server-side apply, which the API server reads as YAML. Pure.

The client's JSON would do, but it writes a character beyond U+FFFF as two surrogate escapes, and
YAML knows no surrogates: the whole apply would be rejected for one emoji in a message.
"""

import json
import re
from typing import Any

CONTENT_TYPE = "application/apply-patch+yaml; charset=utf-8"
"""With a parameter, which the API server ignores: the client then sends the text as it is."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile("[\x7f-\uffff]")
"""Among them are line breaks and control characters, which YAML folds or rejects when unescaped."""


def apply_text(body: dict[str, Any]) -> str:
    """Return an object as text that is both YAML and JSON; lone surrogates become U+FFFD."""
    text = _SURROGATE.sub("\ufffd", json.dumps(body, ensure_ascii=False))
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
