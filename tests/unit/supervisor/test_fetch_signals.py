"""While a model is fetched, the health port serves how much of it there is."""

import asyncio
import json
import socket
import urllib.request
from pathlib import Path

import pytest

from mistral_server.contract import SignalDocument
from mistral_server.model import progress as progress_module
from mistral_server.model.progress import Progress
from mistral_server.supervisor import fetch_signals


@pytest.fixture
def port() -> int:
    """Return a free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def read(port: int) -> SignalDocument:
    """Return the signals, once the port is open."""

    def get() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/signals", timeout=5) as response:
            return bytes(response.read())

    for _ in range(100):
        try:
            return SignalDocument.read(await asyncio.to_thread(get))
        except OSError:
            await asyncio.sleep(0.05)
    raise AssertionError("nothing is served")


async def test_the_progress_of_a_fetch_is_served(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_MEASURE_SECONDS", 0.01)
    progress = Progress(tmp_path)
    with fetch_signals.serving(progress, port), progress.measured():
        first = (await read(port)).fetch
        assert first is not None
        assert (first.fetched_bytes, first.total_bytes) == (0, None)

        progress.total = 5000
        (tmp_path / "weights").write_bytes(b"w" * 100_000)
        await asyncio.sleep(0.2)
        document = await read(port)

    assert not document.ready
    assert document.fetch is not None
    assert (document.fetch.fetched_bytes, document.fetch.total_bytes) == (5000, 5000)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


async def test_a_port_that_is_in_use_does_not_stop_the_fetch(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", port))  # noqa: S104
        taken.listen()
        with fetch_signals.serving(Progress(tmp_path), port):
            await asyncio.sleep(0.5)

    assert "The progress is not served" in caplog.text


def test_the_progress_is_a_readable_text(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    assert str(progress) == "0.0 GB"

    progress.total = 48_022_000_000
    assert str(progress) == "0.0 of 48.0 GB"


def test_a_document_of_an_older_server_has_no_progress() -> None:
    assert SignalDocument.read(json.dumps({"ready": False})).fetch is None
    odd = {"ready": False, "fetch": {"fetched_bytes": -1, "total_bytes": 7}}
    fetch = SignalDocument.read(json.dumps(odd)).fetch
    assert fetch is not None
    assert (fetch.fetched_bytes, fetch.total_bytes) == (0, 7)
