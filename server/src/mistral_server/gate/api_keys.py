"""API keys from a mounted Secret: read again when it changes, so a new key needs no restart."""

import hashlib
import logging
import time
from pathlib import Path

from mistral_server.errors import InvalidConfigurationError

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
"""A Secret arrives a minute after its change anyway; looking once a second costs nothing."""


class ApiKeys:
    """The keys in a directory, one a file.

    Only their digests are kept and compared: how long that takes says nothing of a key.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._version: tuple[int, int] | None = None
        self._checked_at = float("-inf")
        self._digests: frozenset[bytes] = frozenset()

    def allows(self, authorization: bytes | None) -> bool:
        """Tell whether an Authorization header bears one of the keys."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        self._reload()
        return _digest(key.strip()) in self._digests

    def _reload(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < _PAUSE_SECONDS:
            return
        self._checked_at = now
        try:
            # The kubelet replaces a Secret's files by renaming a link to their directory.
            linked = self._directory / "..data"
            stat = (linked if linked.exists() else self._directory).stat()
            version = (stat.st_ino, stat.st_mtime_ns)
            if version == self._version:
                return
            keys = _keys(self._directory)
        except OSError as error:
            # The keys that were known stay valid: half a Secret must lock nobody out.
            _log.warning("Cannot read the API keys in %s: %s", self._directory, error)
            return
        self._digests = frozenset(map(_digest, keys))
        self._version = version
        _log.info("Valid API keys: %d", len(self._digests))


def check_api_keys(directory: str | None) -> None:
    """Raise `InvalidConfigurationError` if keys are asked for and there is none: nobody could ask.

    Args:
        directory: of the keys; None if none are asked for.
    """
    if directory is None:
        return
    try:
        keys = _keys(Path(directory))
    except OSError:
        keys = []
    if not keys:
        raise InvalidConfigurationError(
            "No API key found: the directory of gate.api_keys does not exist or is empty. Add a"
            " key to it, or remove gate.api_keys."
        )


def _keys(directory: Path) -> list[bytes]:
    files = [path for path in directory.iterdir() if path.is_file()]
    return [key for path in files if (key := path.read_bytes().strip())]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
