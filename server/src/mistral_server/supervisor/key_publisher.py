"""Computes the digests of the API keys that `/signals` publishes, again whenever a key changes."""

import asyncio
import base64
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from mistral_server.contract import (
    KEY_DIGEST_METHOD,
    MAX_KEY_DIGESTS,
    SALT_BYTES,
    KeyDigests,
    key_digest,
)
from mistral_server.gate.api_keys import keys_version, read_keys

_log = logging.getLogger(__name__)

_PERIOD_SECONDS = 5.0
"""Interval between checks for a change. The kubelet updates a Secret within about a minute."""


@asynccontextmanager
async def published_keys(
    directory: str | None, publish: Callable[[KeyDigests | None], None]
) -> AsyncIterator[None]:
    """Publish digests of the API keys while the block runs, unless authentication is disabled."""
    if directory is None:
        yield
        return
    task = asyncio.create_task(KeyPublisher(directory, publish).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class KeyPublisher:
    """Keeps the digests of the keys in a directory up to date.

    Args:
        directory: of the API keys.
        publish: receives the digests; None if they cannot be published.
        digest: computes one; it takes long, so it runs in another thread.
    """

    def __init__(
        self,
        directory: str,
        publish: Callable[[KeyDigests | None], None],
        digest: Callable[[bytes, str], str] = key_digest,
    ) -> None:
        self._directory = Path(directory)
        self._publish = publish
        self._digest = digest
        # One salt for the life of the process: a changed Secret costs its new keys only.
        self._salt = base64.urlsafe_b64encode(secrets.token_bytes(SALT_BYTES)).decode()
        self._digests: dict[bytes, str] = {}
        self._version: tuple[int, int] | None = None

    async def run(self) -> None:
        """Publish now, and again after each change."""
        while True:
            try:
                await self.once()
            except Exception:
                # The endpoint serves without digests too; only its activator knows less.
                _log.exception("Cannot publish digests of the API keys")
            await asyncio.sleep(_PERIOD_SECONDS)

    async def once(self) -> None:
        """Publish the digests if the keys changed. Unreadable keys stay as they were."""
        try:
            version = keys_version(self._directory)
            if version == self._version:
                return
            keys = sorted({*read_keys(self._directory)})
        except OSError as error:
            _log.warning("Cannot read the API keys in %s: %s", self._directory, error)
            return
        self._publish(await self._digests_of(keys))
        self._version = version

    async def _digests_of(self, keys: list[bytes]) -> KeyDigests | None:
        if len(keys) > MAX_KEY_DIGESTS:
            _log.warning(
                "There are %d API keys. Digests are published for at most %d, so every key starts a"
                " replica while the endpoint is scaled to zero",
                len(keys),
                MAX_KEY_DIGESTS,
            )
            return None
        self._digests = {key: one for key, one in self._digests.items() if key in keys}
        try:
            for key in keys:
                if key not in self._digests:
                    digest = await asyncio.to_thread(self._digest, key, self._salt)
                    self._digests[key] = digest
        except ValueError as error:
            _log.warning("Cannot compute digests of the API keys: %s", error)
            return None
        digests = tuple(sorted(self._digests.values()))
        return KeyDigests(method=KEY_DIGEST_METHOD, salt=self._salt, digests=digests)
