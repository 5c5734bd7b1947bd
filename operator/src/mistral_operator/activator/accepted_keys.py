"""API keys that a replica has accepted, so that other keys cannot take their place.

The activator reads no Secret, so it learns from the responses of replicas. It keeps digests that
are worth nothing outside of this process, and loses them with it. They decide about the queue of an
endpoint whose replicas publish no digests, and which keys are checked first.
"""

import hashlib
import hmac
import secrets
import string
from collections import OrderedDict

_MAX_KEYS = 256
_SECRET = secrets.token_bytes(32)


class AcceptedKeys:
    """The accepted keys of one endpoint; of too many, those used last."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __bool__(self) -> bool:
        """Return whether any key is known."""
        return bool(self._digests)

    def __contains__(self, key: str) -> bool:
        """Return whether a replica accepted a key."""
        return fingerprint(key) in self._digests

    def add(self, key: str) -> None:
        """Remember a key that a replica accepted."""
        digest = fingerprint(key)
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > _MAX_KEYS:
            self._digests.popitem(last=False)

    def discard(self, key: str) -> None:
        """Forget a key that a replica rejected."""
        self._digests.pop(fingerprint(key), None)


def api_key(authorization: str | None) -> str:
    """Return the key in an Authorization header, an empty text without one."""
    scheme, _, key = (authorization or "").partition(" ")
    # The gate compares bytes: of these, the same are space.
    return key.strip(string.whitespace) if scheme.lower() == "bearer" else ""


def key_bytes(key: str) -> bytes:
    """Return a key as the client sent it."""
    return key.encode(errors="surrogateescape")


def fingerprint(key: str) -> bytes:
    """Return what stands for a key within this process."""
    return hmac.digest(_SECRET, key_bytes(key), hashlib.sha256)
