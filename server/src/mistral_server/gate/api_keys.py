"""API keys from a mounted Secret, reloaded on change, so that a new key needs no restart."""

import hashlib
import logging
import time
from pathlib import Path

from mistral_server.contract import API_KEYS_FILE
from mistral_server.errors import InvalidConfigurationError

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
"""Interval between checks. The kubelet updates a Secret within about a minute anyway."""


class ApiKeys:
    """The keys in the file of a directory, one per line.

    Only digests are stored and compared, so the timing reveals nothing about a key.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._version: tuple[int, int] | None = None
        self._checked_at = float("-inf")
        self._digests: frozenset[bytes] = frozenset()

    def allows(self, authorization: bytes | None) -> bool:
        """Return whether an Authorization header contains one of the keys."""
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
            version = keys_version(self._directory)
            if version == self._version:
                return
            keys = read_keys(self._directory)
        except OSError as error:
            # The previous keys stay valid: a partial Secret must not lock out clients.
            _log.warning("Cannot read the API keys in %s: %s", self._directory, error)
            return
        self._digests = frozenset(map(_digest, keys))
        self._version = version
        _log.info("Valid API keys: %d", len(self._digests))


def check_api_keys(directory: str | None) -> None:
    """Raise `InvalidConfigurationError` if authentication is enabled without any key.

    Args:
        directory: of the keys; None disables authentication.
    """
    if directory is None:
        return
    try:
        keys = read_keys(Path(directory))
    except OSError:
        keys = []
    if not keys:
        raise InvalidConfigurationError(
            f"No API key found: the Secret of gate.api_keys does not exist, or has no key"
            f" {API_KEYS_FILE} with one API key per line. Add it, or remove gate.api_keys."
        )


def keys_version(directory: Path) -> tuple[int, int]:
    """Return what changes when the keys in a directory do.

    Raises:
        OSError: the directory cannot be read.
    """
    # The kubelet replaces a Secret's files by renaming a link to their directory.
    linked = directory / "..data"
    stat = (linked if linked.exists() else directory).stat()
    return stat.st_ino, stat.st_mtime_ns


def read_keys(directory: Path) -> list[bytes]:
    """Return the keys in a directory.

    Raises:
        OSError: the file cannot be read.
    """
    lines = (directory / API_KEYS_FILE).read_bytes().splitlines()
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith(b"#")]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
