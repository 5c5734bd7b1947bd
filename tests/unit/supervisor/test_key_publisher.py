"""The digests of API keys that a server publishes."""

import logging
from pathlib import Path

import pytest

from mistral_server.contract import (
    API_KEYS_FILE,
    KEY_DIGEST_METHOD,
    MAX_KEY_DIGESTS,
    KeyDigests,
)
from mistral_server.supervisor.key_publisher import KeyPublisher, published_keys


class Published:
    """A publisher with a quick digest, and what it published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.computed: list[bytes] = []
        self.digests: list[KeyDigests | None] = []
        self.publisher = KeyPublisher(str(directory), self.digests.append, self._digest)

    def _digest(self, key: bytes, _: str) -> str:
        if key == b"failing":
            raise ValueError("unsupported")
        self.computed.append(key)
        return f"{len(self.computed):08}"

    def write(self, *keys: str) -> None:
        """Replace the Secret as the kubelet does."""
        self.directory.mkdir(exist_ok=True)
        version = self.directory / f"..{len([*self.directory.iterdir()])}"
        version.mkdir()
        (version / API_KEYS_FILE).write_text("\n".join(keys))
        link = self.directory / "..link"
        link.symlink_to(version.name)
        link.rename(self.directory / "..data")
        file = self.directory / API_KEYS_FILE
        if not file.is_symlink():
            file.symlink_to(f"..data/{API_KEYS_FILE}")

    @property
    def last(self) -> KeyDigests:
        """What was published last."""
        last = self.digests[-1]
        assert last is not None
        return last


@pytest.fixture
def published(tmp_path: Path) -> Published:
    """Return a publisher of a directory that does not exist yet."""
    return Published(tmp_path / "keys")


async def test_each_key_costs_one_digest_until_it_changes(published: Published) -> None:
    published.write("# comment", "one", "two", "", " two ")
    for _ in range(3):
        await published.publisher.once()
    assert published.last.digests == ("00000001", "00000002")
    assert (published.last.method, len(published.digests)) == (KEY_DIGEST_METHOD, 1)

    published.write("two", "three")
    await published.publisher.once()
    assert published.last.digests == ("00000002", "00000003")
    assert published.computed == [b"one", b"two", b"three"]
    assert len({one.salt for one in published.digests if one}) == 1


async def test_a_secret_that_cannot_be_read_changes_nothing(published: Published) -> None:
    published.write("one")
    await published.publisher.once()
    published.directory.rename(published.directory.with_name("gone"))

    await published.publisher.once()
    assert len(published.digests) == 1


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        pytest.param(
            [f"key {number}" for number in range(MAX_KEY_DIGESTS + 1)],
            "There are 41 API keys",
            id="too many",
        ),
        pytest.param(["a key", "failing"], "Cannot compute digests", id="not supported"),
    ],
)
async def test_what_cannot_be_published_is_said_once(
    published: Published, keys: list[str], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    published.write(*keys)
    with caplog.at_level(logging.WARNING):
        await published.publisher.once()
        await published.publisher.once()

    assert published.digests == [None]
    (message,) = caplog.messages
    assert message.startswith(warning)
    assert "a key" not in message


async def test_without_authentication_nothing_is_published() -> None:
    digests: list[KeyDigests | None] = []
    async with published_keys(None, digests.append):
        pass
    assert digests == []


async def test_each_process_has_a_salt_of_its_own(tmp_path: Path) -> None:
    salts = set()
    for name in ("one", "two"):
        published = Published(tmp_path / name)
        published.write("key")
        await published.publisher.once()
        salts.add(published.last.salt)
    assert len(salts) == 2
