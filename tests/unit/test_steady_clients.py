"""The clients that measure rollouts notice every way in which a request can fail."""

import asyncio
import json
from dataclasses import asdict

import pytest

from server_runner import free_port
from steady_clients import CLIENTS, Clients, session_of
from steady_outcomes import Outcome, failing_seconds, failures, longest_wait, row

CHOICE = {"choices": [{"finish_reason": "length"}]}
END = b'data: {"choices":[{"finish_reason":"length"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """Return a response, which may announce more bytes than it has."""
    announced = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {announced}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def outcome_of(response: bytes, kind: str) -> Outcome:
    """Let a client send a request to a server that sends these bytes and closes the connection."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        return await sent(server.sockets[0].getsockname()[1], kind)


async def sent(port: int, kind: str) -> Outcome:
    async with session_of(kept=CLIENTS[kind].kept) as session:
        clients = Clients(f"http://127.0.0.1:{port}", "tiny")
        return await clients.send(session, kind, CLIENTS[kind])


@pytest.mark.parametrize(
    ("kind", "response", "result"),
    [
        ("chat", http(json.dumps(CHOICE).encode()), "ok"),
        ("kept chat", http(json.dumps(CHOICE).encode()), "ok"),
        ("models", http(b'{"data": [{"id": "tiny"}]}'), "ok"),
        ("stream", http(END + DONE), "ok"),
        ("stream", http(DONE), "cut"),
        ("stream", http(END), "cut"),
        ("stream", http(END, length=1000), "cut"),
        ("chat", http(b'{"choices"', length=1000), "cut"),
        ("chat", b"", "closed"),
        ("chat", http(b"{}", "502 Bad Gateway"), "502"),
        ("models", http(b'{"data": []}'), "cut"),
    ],
)
async def test_a_response_counts_only_if_it_is_complete(
    kind: str, response: bytes, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = await outcome_of(response, kind)

    assert seen.result == result
    assert seen.failed == (result != "ok")
    assert json.loads(capsys.readouterr().out) == asdict(seen)


async def test_a_refusal_is_kept_with_its_advice() -> None:
    seen = await outcome_of(http(b"later", "503 Busy", "Retry-After: 5"), "chat")

    assert (seen.result, seen.retry_after, seen.detail) == ("503", "5", "later")


async def test_a_refused_connection_is_a_failure() -> None:
    assert (await sent(free_port(), "chat")).result == "refused"


def test_a_row_says_how_long_requests_failed_and_how_long_others_waited() -> None:
    outcomes = [
        Outcome("chat", 10, 1, "ok", first_seconds=0.5),
        Outcome("chat", 12, 0, "refused"),
        Outcome("chat", 15, 0.5, "503"),
        Outcome("chat", 16, 9, "ok", first_seconds=8.5),
    ]

    assert len(failures(outcomes)) == 2
    assert failing_seconds(outcomes) == 3.5
    assert longest_wait(outcomes) == 8.5
    assert row("edit", "steady", outcomes).split() == [
        *("edit", "steady", "4", "2", "3.5", "8.5"),
        *("503", "1,", "refused", "1"),
    ]
