"""The gate in front of an ASGI application that keeps what reaches it."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mistral_server.contract import SERVER_SETTINGS_ENV
from mistral_server.gate import Gate
from mistral_server.gate.body import with_system_message
from mistral_server.gate.middleware import Message, Receive, Scope, Send
from mistral_server.gate.system_prompt import SystemPrompt

PROMPT = 'You are {name}, "today" is {today}.'
FILLED = f'You are tiny, "today" is {datetime.datetime.now(datetime.UTC).date().isoformat()}.'


class Application:
    """Keeps the last request and answers 200."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.body = b""
        self.after: Message = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        more = scope["type"] == "http"
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        self.after = await receive()
        await send({"type": "http.response.start", "status": 200})


async def ask(
    application: Application, messages: list[Message], path: str = "/v1/chat/completions"
) -> list[Message]:
    """Send a request through a gate; return what came back."""
    sent: list[Message] = []
    queue = [*messages, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return queue.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    length = sum(len(message.get("body", b"")) for message in messages)
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(b"host", b"x"), (b"content-length", str(length).encode())],
    }
    await Gate(application)(scope, receive, send)
    return sent


@pytest.fixture
def prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a system prompt and return its file."""
    path = tmp_path / "prompt"
    path.write_text(PROMPT)
    settings = {
        "model": {"path": "/m", "served_name": "tiny", "id": "m"},
        "system_prompt": {"path": str(path)},
    }
    monkeypatch.setitem(os.environ, SERVER_SETTINGS_ENV, json.dumps(settings))
    return path


def request(*bodies: bytes) -> list[Message]:
    """Return the messages of a request whose body arrives in parts."""
    last = len(bodies) - 1
    return [
        {"type": "http.request", "body": body, "more_body": index < last}
        for index, body in enumerate(bodies)
    ]


@pytest.mark.usefixtures("prompt")
async def test_a_chat_without_system_message_gets_the_prompt() -> None:
    application = Application()
    body = b'{"model":"tiny","messages":[{"role":"user","content":"H\xc3\xa9"}],"n":1}'
    sent = await ask(application, request(body[:20], body[20:], b""))

    assert json.loads(application.body) == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": FILLED},
            {"role": "user", "content": "Hé"},
        ],
        "n": 1,
    }
    assert application.scope["headers"] == [
        (b"host", b"x"),
        (b"content-length", str(len(application.body)).encode()),
    ]
    assert application.after == {"type": "http.disconnect"}  # so that vLLM notices who left
    assert sent == [{"type": "http.response.start", "status": 200}]


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"system","content":"X"},{"role":"user","content":"Hi"}]}',
        b'{"messages":[{"role":"user","content":"Hi"},{"role":"developer","content":"X"}]}',
        b'{"messages":[]}',
        b'{"messages":"Hi"}',
        b'{"messages":[{"content":"Hi"}]}',
        b'{"messages":[{"role":7}]}',
        b'{"messages":[{"role":"user"}]',
        b'{"prompt":"Hi"}',
        b'[{"role":"user"}]',
        b"",
        b"\x1f\x8b\x08 not json",
        b'{"messages":[{"role":"\xff"}]}',
        b"[" * 100_000,
    ],
)
async def test_any_other_body_passes_unchanged(body: bytes) -> None:
    application = Application()
    await ask(application, request(body))

    assert application.body == body
    assert dict(application.scope["headers"])[b"content-length"] == str(len(body)).encode()


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions/batch", "/health"])
async def test_other_paths_pass_unread(path: str) -> None:
    application = Application()
    body = b'{"messages":[{"role":"user","content":"Hi"}]}'
    await ask(application, request(body), path)

    assert application.body == body


@pytest.mark.usefixtures("prompt")
async def test_a_client_that_leaves_early_reaches_nobody() -> None:
    application = Application()
    half: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
    sent = await ask(application, half)

    assert application.scope == {}
    assert sent == []


@pytest.mark.usefixtures("prompt")
async def test_lifespan_and_websockets_pass() -> None:
    application = Application()

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(_message: Message) -> None:
        return

    await Gate(application)({"type": "lifespan"}, receive, send)

    assert application.scope == {"type": "lifespan"}


def test_an_image_of_megabytes_is_copied_and_not_decoded() -> None:
    image = b"A" * 5_000_000
    body = b'{ "messages" : [ {"content":"' + image + b'","role":"user"} ] , "x" : 1.50 }'
    changed = with_system_message(body, "P")

    assert image in changed
    assert json.loads(changed)["messages"][0] == {"role": "system", "content": "P"}
    assert b"1.50" in changed


def day() -> datetime.date:
    return datetime.date(2026, 3, 1)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{name} {today} {yesterday}", "tiny 2026-03-01 2026-02-28"),
        (
            '{"json": {"today": {other}}} {} {0} {name!r}',
            '{"json": {"today": {other}}} {} {0} {name!r}',
        ),
        ("", ""),
    ],
)
def test_a_template_is_filled_in_and_its_other_braces_stay(
    tmp_path: Path, template: str, text: str
) -> None:
    path = tmp_path / "prompt"
    path.write_text(template)

    assert SystemPrompt(str(path), "tiny", day).render() == text


def test_a_changed_template_is_read_again_and_a_lost_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "prompt"
    prompt: Any = SystemPrompt(str(path), "tiny", day)
    assert prompt.render() is None

    path.write_text("one")
    assert prompt.render() == "one"

    other = tmp_path / "other"
    other.write_text("two")
    other.rename(path)  # as a ConfigMap's volume does it
    assert prompt.render() == "two"

    path.unlink()
    assert prompt.render() == "two"
