"""The id of a request, which gate and activator return in the header `x-request-id`."""

import re
import secrets

REQUEST_ID_HEADER = "x-request-id"

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,127}")
"""An id that may be written to a log and a header as it is: no space, no quote, no line end."""


def request_id(sent: str | None) -> str:
    """Return the id that a client sent, or a new one if it sent none or an unsafe one."""
    return sent if sent is not None and _SAFE.fullmatch(sent) else secrets.token_hex(8)
