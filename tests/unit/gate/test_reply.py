"""Every response has the id of its request, and every request a line of the log."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from gate_engine import CHAT, COMPLETIONS, Counted, FakeEngine, ask, gate, words
from mistral_server.contract import API_KEYS_FILE, DRAINING_ENV, OPEN_PATHS, request_id
from request_lines import lines

USER = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"messages": [USER]}
MADE = re.compile(r"[0-9a-f]{16}")
SAFE = ("my-id-1", "a", "2c9e8f.x_y:z@h/1+2=", "x" * 128)
UNSAFE = ("", " ", "a b", "x" * 129, 'a"b', "a\nb", "-a", "ü", "a\x00", "a;b", "a%0a")


@pytest.mark.parametrize("sent", SAFE)
def test_a_safe_id_is_kept(sent: str) -> None:
    assert request_id(sent) == sent


@pytest.mark.parametrize("sent", [None, *UNSAFE])
def test_another_one_is_replaced(sent: str | None) -> None:
    made = request_id(sent)

    assert MADE.fullmatch(made)
    assert made != request_id(sent)


async def test_client_engine_and_log_have_the_id_of_the_client(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine()
    got = await ask(gate(engine), BODY, headers=[("X-Request-Id", "my-id-1")])

    assert got.headers["x-request-id"] == "my-id-1"
    assert ids_of(engine) == ["my-id-1"]
    (line,) = lines(capfd)
    assert line["id"] == "my-id-1"


async def test_a_made_id_is_the_engines_too(configure: Any) -> None:
    engine = FakeEngine(chunks=words(3))
    got = await ask(gate(engine), {**BODY, "stream": True})
    long = await ask(gate(engine), BODY, headers=[("X-Request-Id", "x" * 200)])

    assert MADE.fullmatch(got.headers["x-request-id"])
    assert ids_of(engine) == [got.headers["x-request-id"], long.headers["x-request-id"]]


async def test_proxies_do_not_buffer_a_stream(configure: Any) -> None:
    stream = await ask(gate(FakeEngine(chunks=words(3))), {**BODY, "stream": True})
    whole = await ask(gate(FakeEngine()), BODY)

    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["cache-control"] == "no-cache"
    assert not {"x-accel-buffering", "cache-control"} & {*whole.headers}


@pytest.mark.parametrize(
    ("engine", "body"),
    [
        (FakeEngine(), BODY),
        (FakeEngine(chunks=words(3)), {**BODY, "stream": True}),
        (FakeEngine(status=503), BODY),
        (FakeEngine(), {**BODY, "n": "two"}),
    ],
    ids=["whole", "stream", "engine's error", "rejected"],
)
async def test_a_draining_server_closes_each_connection_after_its_response(
    configure: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    engine: FakeEngine,
    body: dict[str, Any],
) -> None:
    file = tmp_path / "draining"
    monkeypatch.setenv(DRAINING_ENV, str(file))
    guarded = gate(engine)

    before = await ask(guarded, body)
    file.touch()
    while_draining = await ask(guarded, body)

    assert "connection" not in before.headers
    assert while_draining.headers["connection"] == "close"
    assert while_draining.status == before.status


def ids_of(engine: FakeEngine) -> list[str]:
    """Return the ids that reached an engine."""
    return [
        value.decode()
        for scope in engine.scopes
        for name, value in scope["headers"]
        if name == b"x-request-id"
    ]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v1/responses", "POST", 404),
        (CHAT, "POST", 400),
        ("/v1/models", "GET", 200),
        ("/v1/models/tiny", "GET", 200),
        ("/v1/models/tiny", "HEAD", 200),
        ("/v1/models/other", "HEAD", 404),
        ("/v1/models/other", "GET", 404),
    ],
)
async def test_every_response_has_an_id(
    configure: Any, path: str, method: str, status: int
) -> None:
    body: Any = {"messages": []} if method == "POST" else b""
    got = await ask(gate(FakeEngine()), body, path, method)

    assert got.status == status
    assert MADE.fullmatch(got.headers["x-request-id"])


async def test_probes_are_logged_when_they_fail(
    configure: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    await ask(gate(FakeEngine()), b"", "/health", "GET")
    assert lines(capfd) == []

    await ask(gate(FakeEngine(status=503)), b"", "/health", "GET")
    (line,) = lines(capfd)
    assert (line["path"], line["status"]) == ("/health", 503)


async def fails(scope: Any, receive: Any, send: Any) -> None:
    """Fail before a response."""
    raise RuntimeError


async def fails_within(scope: Any, receive: Any, send: Any) -> None:
    """Fail within a response."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError


async def leaves(scope: Any, receive: Any, send: Any) -> None:
    """Return without a response, as vLLM does when the client has left."""


RESULTS: dict[str, tuple[Any, str, dict[str, float]]] = {
    "an answer": (FakeEngine(), "/v1/models", {"2xx": 1}),
    "a closed path": (FakeEngine(), "/v1/responses", {"4xx": 1}),
    "an exception": (fails, "/v1/models", {"5xx": 1}),
    "an exception within the response": (fails_within, "/v1/models", {"cut": 1}),
    "a client that left": (leaves, "/v1/models", {"disconnected": 1}),
    "a probe": (FakeEngine(), "/health", {}),
    "a probe that fails": (FakeEngine(status=503), "/health", {"5xx": 1}),
}


@pytest.mark.parametrize(("engine", "path", "want"), RESULTS.values(), ids=RESULTS)
async def test_a_response_is_counted_as_its_client_sees_it(
    configure: Any, engine: Any, path: str, want: dict[str, float]
) -> None:
    with Counted() as counted, contextlib.suppress(RuntimeError):
        await ask(gate(engine), b"", path, "GET")

    assert counted.responses() == want


KINDS: dict[str, tuple[Any, str, str, tuple[str, str]]] = {
    "a chat": (FakeEngine(), "POST", CHAT, ("generation", "2xx")),
    "a completion": (FakeEngine(), "POST", COMPLETIONS, ("generation", "2xx")),
    "a path that the resource opens": (FakeEngine(), "POST", "/v2/x", ("generation", "2xx")),
    "a chat that fails": (fails, "POST", CHAT, ("generation", "5xx")),
    "a chat without a key": (FakeEngine(), "POST", f"{CHAT}?", ("generation", "4xx")),
    "a chat without a body": (FakeEngine(), "GET", CHAT, ("other", "2xx")),
    "a request of a browser": (FakeEngine(), "OPTIONS", CHAT, ("other", "2xx")),
    "models": (FakeEngine(), "GET", "/v1/models", ("other", "2xx")),
    "tokens": (FakeEngine(), "POST", "/tokenize", ("other", "2xx")),
    "a probe": (FakeEngine(status=503), "POST", "/health", ("other", "5xx")),
    "a closed path": (FakeEngine(), "POST", "/v1/messages", ("other", "4xx")),
}


@pytest.mark.parametrize(("engine", "method", "path", "want"), KINDS.values(), ids=KINDS)
async def test_a_response_is_counted_by_whether_it_may_generate_text(
    configure: Any, tmp_path: Path, engine: Any, method: str, path: str, want: tuple[str, str]
) -> None:
    (tmp_path / API_KEYS_FILE).write_text("key\n")
    configure(gate={"api_keys": str(tmp_path), "paths": [*OPEN_PATHS, "/v2/*"]})
    path, no_key = path.removesuffix("?"), path.endswith("?")
    headers = [] if no_key else [("Authorization", "Bearer key")]
    with Counted() as counted:
        await ask(gate(engine), BODY, path, method, headers=headers)

    assert counted.responses_by_kind() == {want: 1}


@pytest.mark.parametrize("value", ["banana", "stop, off", "true", "of"])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_a_policy_for_loops_that_does_not_exist_is_refused(
    configure: Any, value: str, path: str
) -> None:
    engine = FakeEngine()
    got = await ask(gate(engine), BODY, path, headers=[("X-Mistral-Loops", value)])

    assert got.status == 400
    assert "none of off, observe and stop" in got.json()["error"]["message"]
    assert engine.bodies == []


@pytest.mark.parametrize("value", ["", " ", "off", "Observe", "STOP"])
async def test_a_policy_for_loops_that_exists_is_taken(configure: Any, value: str) -> None:
    got = await ask(gate(FakeEngine()), BODY, headers=[("X-Mistral-Loops", value)])

    assert got.status == 200


async def test_a_model_is_retrieved_as_it_is_listed(configure: Any) -> None:
    engine = FakeEngine()
    listed = (await ask(gate(engine), b"", "/v1/models", "GET")).json()["data"]
    got = await ask(gate(engine), b"", "/v1/models/tiny", "GET")
    other = await ask(gate(engine), b"", "/v1/models/owner/name", "GET")

    assert got.json() == listed[0]
    assert int(got.headers["content-length"]) == len(got.body)
    assert other.status == 404
    assert other.json()["error"]["code"] == "model_not_found"
    assert "`owner/name`" in other.json()["error"]["message"]


def write(path: Path) -> None:
    """Write the system prompt."""
    path.write_text("Be kind.")


@pytest.fixture
def prompt(configure: Any, tmp_path: Path) -> Path:
    """Configure a system prompt whose file does not exist."""
    path = tmp_path / "prompt"
    configure(system_prompt={"path": str(path)})
    return path


async def test_no_chat_goes_without_the_system_prompt(prompt: Path) -> None:
    engine = FakeEngine()
    app = gate(engine)
    got = await ask(app, BODY)

    assert (got.status, got.headers["retry-after"]) == (503, "5")
    assert got.json()["error"]["code"] == "system_prompt_unavailable"
    assert engine.bodies == []

    own = {"role": "system", "content": "Be brief."}
    assert (await ask(app, {"messages": [own, USER]})).status == 200
    assert (await ask(app, {"prompt": "Hi"}, "/v1/completions")).status == 200

    write(prompt)
    assert (await ask(app, BODY)).status == 200
    assert engine.request["messages"][0] == {"role": "system", "content": "Be kind."}
