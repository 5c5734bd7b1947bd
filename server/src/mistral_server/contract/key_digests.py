"""Digests of API keys: what a server publishes, so that a key can be checked while none runs.

`/signals` has no authentication, so a digest must not help to find its key. That of a random key of
128 bits never does. For short keys that can be guessed, each guess takes as long as a check.
"""

import base64
import hashlib
from typing import Annotated

from pydantic import Field, StringConstraints

from mistral_server.contract.base import ServerDocument
from mistral_server.contract.stages import ReportedName

KEY_DIGEST_METHOD = "scrypt-32768-8-1"
"""Names how digests are computed. A reader ignores digests of another method."""

MAX_KEY_DIGESTS = 40
"""Maximum number of keys whose digests are published: those of 2,000 endpoints fit into one
object of Kubernetes, 1 MiB."""

_COST, _BLOCKS = 2**15, 8
"""Parameters of scrypt for interactive logins, as golang.org/x/crypto/scrypt recommends them. One
digest takes 32 MiB and about 80 ms."""
_MEMORY_BYTES = 2 * 128 * _COST * _BLOCKS
_DIGEST_BYTES = 6
"""A wrong key has the digest of a right one once in 10^13 keys. It is still rejected by the
replica that it starts."""
SALT_BYTES = 12

Salt = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16}$", max_length=16)]
KeyDigest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8}$", max_length=8)]


class KeyDigests(ServerDocument):
    """Salted digests of the API keys that a server accepts."""

    method: ReportedName = ""
    """How they are computed."""
    salt: Salt = "A" * 16
    """Random for each process, so that one search covers the keys of one process only."""
    digests: tuple[KeyDigest, ...] = Field(default=(), max_length=MAX_KEY_DIGESTS)
    """One digest for each key."""

    @property
    def usable(self) -> bool:
        """Whether a key can be checked against them."""
        return self.method == KEY_DIGEST_METHOD and bool(self.digests)


def key_digest(key: bytes, salt: str) -> str:
    """Return the digest of a key, slowly.

    Raises:
        ValueError: the cryptography library of this machine does not allow scrypt.
    """
    digest = hashlib.scrypt(
        key,
        salt=salt.encode(),
        n=_COST,
        r=_BLOCKS,
        p=1,
        maxmem=_MEMORY_BYTES,
        dklen=_DIGEST_BYTES,
    )
    return base64.urlsafe_b64encode(digest).decode()
