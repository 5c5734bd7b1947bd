"""API keys from a mounted Secret, reloaded on change, so that a new key needs no restart."""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mistral_server.contract import API_KEYS_FILE
from mistral_server.errors import InvalidConfigurationError

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
"""Interval between checks. The kubelet updates a Secret within about a minute anyway."""


_CLIENT = re.compile(rb"#\s*client:\s*([A-Za-z0-9][A-Za-z0-9._-]{0,62})\s*")
"""A comment that names the client of the keys below it. Other comments may be keys that are out of
use: they are no names."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who has a key."""

    name: str | None = None
    """None if the file does not say."""


class ApiKeys:
    """The keys in the file of a directory, one per line.

    Only digests are stored and compared, so the timing reveals nothing about a key.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._version: tuple[int, int] | None = None
        self._checked_at = float("-inf")
        self._clients: dict[bytes, Client] = {}
        """By the digests of their keys."""

    def client(self, authorization: bytes | None) -> Client | None:
        """Return who has the key in an Authorization header; None if it is not one of the keys."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        self._reload()
        return self._clients.get(_digest(key.strip()))

    def _reload(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < _PAUSE_SECONDS:
            return
        self._checked_at = now
        try:
            version = keys_version(self._directory)
            if version == self._version:
                return
            keys = dict(_read(self._directory))
        except OSError as error:
            # The previous keys stay valid: a partial Secret must not lock out clients.
            _log.warning("Cannot read the API keys in %s: %s", self._directory, error)
            return
        self._clients = {_digest(key): client for key, client in keys.items()}
        self._version = version
        _log.info("Valid API keys: %d", len(self._clients))


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
    return [key for key, _ in _read(directory)]


def _read(directory: Path) -> Iterator[tuple[bytes, Client]]:
    """Yield each key with its client.

    Raises:
        OSError: the file cannot be read.
    """
    client = Client()
    for line in (directory / API_KEYS_FILE).read_bytes().splitlines():
        stripped = line.strip()
        named = _CLIENT.fullmatch(stripped)
        if named is not None:
            client = Client(named[1].decode())
        elif stripped and not stripped.startswith(b"#"):
            yield stripped, client


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
