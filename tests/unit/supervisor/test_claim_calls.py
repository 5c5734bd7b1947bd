"""A claim that hangs delays a start for a time, and keeps no server from its end."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mistral_server.contract import COMPILE_CACHE_ENV, FailureClass
from mistral_server.supervisor import claim_calls, compile_cache
from mistral_server.supervisor.compile_cache import CompileCache
from mistral_server.supervisor.compile_directory import CompileDirectory, open_directory
from server_runner import RunningServer, fake_site, server_settings

Start = Callable[..., RunningServer]

HANGING = """
import fcntl, os, threading
locks, real = [], fcntl.flock

def flock(descriptor, operation):
    locks.append(operation)
    if len(locks) == int(os.environ["HANGING_LOCK"]):
        print("hangs", flush=True)
        threading.Event().wait()
    return real(descriptor, operation)

fcntl.flock = flock
"""
"""A claim whose server is lost in one of the locks of a start."""


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """Return what ends every call that hangs."""
    event = threading.Event()
    yield event
    event.set()


def cache(tmp_path: Path) -> tuple[CompileCache, dict[str, str]]:
    """Return the cache of one run of a server, and the environment of its engine."""
    root = tmp_path / "compiled"
    root.mkdir()
    return CompileCache(server_settings(tmp_path)), {COMPILE_CACHE_ENV: str(root)}


async def opened(one: CompileCache, environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of the engine when nothing stops the server."""
    return await claim_calls.open_cache(one, environment, asyncio.Event())


@pytest.mark.parametrize("number", [1, 2], ids=["opened", "ready"])
def test_a_server_whose_claim_hangs_ends_when_it_is_told_to(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (fake_site(tmp_path) / "sitecustomize.py").write_text(HANGING)
    one, environment = cache(tmp_path)
    monkeypatch.setenv(COMPILE_CACHE_ENV, environment[COMPILE_CACHE_ENV])
    monkeypatch.setenv("HANGING_LOCK", str(number))
    server = start(server_settings(tmp_path), compiles=True)
    server.until(lambda: "hangs" in server.words())

    server.stop()
    began = time.monotonic()

    assert server.wait() == 0
    assert time.monotonic() - began < claim_calls.MARK_SECONDS + claim_calls.CLOSE_SECONDS
    assert one.report is None


async def test_a_claim_that_does_not_respond_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    late, was_opened = list[CompileDirectory](), threading.Event()

    def slow(*arguments: Any) -> Any:
        hang.wait()
        late.append(open_directory(*arguments))
        was_opened.set()
        return late[0]

    monkeypatch.setattr(compile_cache, "open_directory", slow)
    monkeypatch.setattr(claim_calls, "OPEN_SECONDS", 0.05)
    one, environment = cache(tmp_path)

    assert await opened(one, environment) == environment

    assert one.report is not None
    assert one.report.reason == "the claim did not respond within 0 s"
    hang.set()
    assert was_opened.wait(5)
    one.mark_ready()
    assert not (late[0].path / "ready").exists(), "this server filled nothing"
    assert one.report.use == "off"


async def test_a_server_is_ready_although_its_claim_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    one, environment = cache(tmp_path)
    await opened(one, environment)
    monkeypatch.setattr(claim_calls, "MARK_SECONDS", 0.05)
    monkeypatch.setattr(CompileDirectory, "mark_ready", lambda _: hang.wait() and None)

    await claim_calls.mark_ready(one)

    assert one.report is not None
    assert one.report.use == "off"


async def test_a_server_ends_although_what_it_discards_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: threading.Event
) -> None:
    one, environment = cache(tmp_path)
    await opened(one, environment)
    monkeypatch.setattr(claim_calls, "DISCARD_SECONDS", 0.05)
    monkeypatch.setattr(CompileDirectory, "discard", lambda _: hang.wait() and None)

    async with asyncio.timeout(5):
        await claim_calls.mark_failed(one, FailureClass.START_FAILED)


async def test_what_such_a_call_raises_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, environment = cache(tmp_path)

    def fail(*_: object) -> dict[str, str]:
        raise ZeroDivisionError

    monkeypatch.setattr(one, "open", fail)

    with pytest.raises(ZeroDivisionError):
        await opened(one, environment)
