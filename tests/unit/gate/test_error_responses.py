"""Requests that the gate refuses, in the shape of OpenAI's errors."""

import re
from pathlib import Path
from typing import Any

import pytest

from gate_engine import CHAT, Counted, FakeEngine, ask, gate
from mistral_dev.paths import CHECKOUT
from mistral_server.contract import ENDPOINT_ENV, KEYLESS_PATHS, OPEN_PATHS
from mistral_server.errors import InvalidConfigurationError
from mistral_server.gate.api_keys import check_api_keys
from mistral_server.gate.error_responses import (
    Refusal,
    closed_path,
    misdirected,
    too_large,
    unknown_key,
)

GATE_DOCS = (CHECKOUT / "docs" / "gate.md").read_text()
BODY = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/messages", "/invocations", "/v1/chat/completions/batch", "/docs", "/"],
)
async def test_a_path_past_the_gate_is_closed(configure: Any, path: str) -> None:
    engine = FakeEngine()
    with Counted() as counted:
        got = await ask(gate(engine), BODY, path)

    assert got.status == 404
    assert got.json()["error"]["code"] == "path_not_open"
    assert path in got.json()["error"]["message"]
    assert engine.scopes == []
    assert counted.moved() == {"requests_refused_total{reason=path}": 1}


async def test_who_uses_the_responses_api_is_told_the_setting(configure: Any) -> None:
    got = await ask(gate(FakeEngine()), BODY, "/v1/responses")
    other = await ask(gate(FakeEngine()), BODY, "/v1/messages")

    assert "set_default_openai_api('chat_completions')" in got.json()["error"]["message"]
    assert "Agents SDK" not in other.json()["error"]["message"]


async def test_a_websocket_is_closed(configure: Any) -> None:
    engine = FakeEngine()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await gate(engine)({"type": "websocket", "path": CHAT, "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert engine.scopes == []


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models"])
async def test_paths_that_generate_nothing_are_open(configure: Any, path: str) -> None:
    engine = FakeEngine()
    await ask(gate(engine), b"", path, method="GET")

    assert [scope["path"] for scope in engine.scopes] == [path]


async def test_a_path_can_be_opened(configure: Any) -> None:
    configure(gate={"paths": ["/v1/responses", "/lora/*"]})
    app = gate(FakeEngine())

    assert (await ask(app, BODY, "/v1/responses")).status == 200
    assert (await ask(app, BODY, "/lora/x/y")).status == 200
    assert (await ask(app, BODY, "/lora")).status == 404
    assert (await ask(app, BODY, CHAT)).status == 404


OWN, FOREIGN = "team-a/small", "team-b/small"


@pytest.mark.parametrize(
    ("own", "meant", "status"),
    [
        (OWN, OWN, 200),
        (OWN, None, 200),
        (OWN, FOREIGN, 421),
        (OWN, "team-a/smaller", 421),
        (OWN, "", 421),
        (None, FOREIGN, 200),
        ("", FOREIGN, 200),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/health"])
async def test_a_request_for_another_endpoint_is_refused(
    configure: Any,
    monkeypatch: pytest.MonkeyPatch,
    own: str | None,
    meant: str | None,
    status: int,
    path: str,
) -> None:
    monkeypatch.delenv(ENDPOINT_ENV, raising=False)
    if own is not None:
        monkeypatch.setenv(ENDPOINT_ENV, own)
    engine = FakeEngine()
    with Counted() as counted:
        headers = [] if meant is None else [("X-Mistral-Endpoint", meant)]
        got = await ask(gate(engine), BODY, path, headers=headers)

    assert got.status == status
    assert bool(engine.scopes) is (status == 200)
    if status == 421:
        assert got.json()["error"]["code"] == "misdirected_request"
        assert str(own) not in got.body.decode(), "its name is not for others"
        assert counted.moved() == {"requests_refused_total{reason=endpoint}": 1}


async def test_a_request_for_another_endpoint_learns_nothing_of_keys(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT_ENV, OWN)
    app = gate(FakeEngine())

    for key in ("key-a", "key-x"):
        headers = [("X-Mistral-Endpoint", FOREIGN), ("Authorization", f"Bearer {key}")]
        assert (await ask(app, BODY, headers=headers)).status == 421


@pytest.fixture
def keys(configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mount a Secret with two keys, as the kubelet does; return its directory."""
    monkeypatch.setattr("mistral_server.gate.api_keys._PAUSE_SECONDS", 0.0)
    mount_secret(
        tmp_path, "one", {"api-keys": "# team a\nkey-a\n\n key-b \r\n", "password": "key-x"}
    )
    configure(gate={"api_keys": str(tmp_path)})
    return tmp_path


def mount_secret(directory: Path, version: str, content: dict[str, str]) -> None:
    """Put a Secret's content into place by renaming a link, as the kubelet does."""
    data = directory / f"..{version}"
    data.mkdir()
    for name, value in content.items():
        (data / name).write_text(value)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data") / name)
    new = directory / "..data_tmp"
    new.symlink_to(data.name)
    new.rename(directory / "..data")


def take_away(directory: Path) -> None:
    """Take a mounted Secret away."""
    directory.rename(directory.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer key-a", 200),
        ("bearer key-b", 200),
        ("Bearer key-c", 401),
        ("Bearer key-x", 401),
        ("Bearer # team a", 401),
        ("Bearer ", 401),
        ("Basic key-a", 401),
        ("key-a", 401),
        (None, 401),
    ],
)
async def test_a_key_opens(keys: Path, authorization: str | None, status: int) -> None:
    headers = [("Authorization", authorization)] if authorization is not None else []
    engine = FakeEngine()
    got = await ask(gate(engine), BODY, headers=headers)

    assert got.status == status
    assert bool(engine.bodies) is (status == 200)
    if status == 401:
        assert got.json()["error"]["code"] == "invalid_api_key"
        assert got.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", OPEN_PATHS)
async def test_only_the_paths_that_are_documented_need_no_key(keys: Path, path: str) -> None:
    sentence = re.search(r"publish digests of them\. (.*?) need no key", GATE_DOCS, re.DOTALL)
    assert sentence is not None
    documented = re.findall(r"`(/\w+)`", sentence[1])
    assert sorted(documented) == sorted(KEYLESS_PATHS)

    status = (await ask(gate(FakeEngine()), b"", path.replace("*", "x"), method="GET")).status
    assert status == (200 if path in documented else 401)


async def test_a_preflight_needs_no_key(keys: Path) -> None:
    engine = FakeEngine()

    assert (await ask(gate(engine), b"", CHAT, method="OPTIONS")).status == 204
    assert (await ask(gate(engine), b"", "/v1/responses", method="OPTIONS")).status == 404
    assert engine.scopes == []


async def test_a_changed_secret_counts_at_once(keys: Path) -> None:
    app = gate(FakeEngine())
    new, old = [("Authorization", "Bearer key-d")], [("Authorization", "Bearer key-a")]
    assert (await ask(app, BODY, headers=new)).status == 401
    assert (await ask(app, BODY, headers=old)).status == 200

    mount_secret(keys, "two", {"api-keys": "key-d"})

    assert (await ask(app, BODY, headers=new)).status == 200
    assert (await ask(app, BODY, headers=old)).status == 401


async def test_the_keys_of_a_deleted_secret_stay_valid(
    configure: Any, keys: Path, tmp_path: Path
) -> None:
    app = gate(FakeEngine())
    good, bad = [("Authorization", "Bearer key-a")], [("Authorization", "Bearer ")]
    assert (await ask(app, BODY, headers=good)).status == 200
    take_away(keys)

    assert (await ask(app, BODY, headers=good)).status == 200
    assert (await ask(app, BODY, headers=bad)).status == 401

    configure(gate={"api_keys": str(tmp_path / "never-there")})
    assert (await ask(gate(FakeEngine()), BODY, headers=good)).status == 401


async def test_the_supervisor_needs_no_key_and_passes_untouched_and_uncounted(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_SERVER_TOKEN", "made-up")
    engine = FakeEngine()
    app = gate(engine)
    with Counted() as counted:
        own = await ask(app, BODY, headers=[("X-Mistral-Server-Token", "made-up")])
        other = await ask(app, BODY, headers=[("X-Mistral-Server-Token", "guessed")])
        empty = await ask(app, BODY, headers=[("X-Mistral-Server-Token", "")])

    assert (own.status, other.status, empty.status) == (200, 401, 401)
    assert engine.request == BODY
    assert counted.moved() == {"requests_refused_total{reason=api_key}": 2}


async def test_without_a_token_no_request_counts_as_the_supervisors(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MISTRAL_SERVER_TOKEN", raising=False)
    got = await ask(gate(FakeEngine()), BODY, headers=[("X-Mistral-Server-Token", "")])

    assert got.status == 401


@pytest.mark.parametrize("declared", [True, False])
async def test_a_request_may_be_so_large(configure: Any, declared: bool) -> None:
    configure(gate={"max_body_bytes": 2000})
    engine = FakeEngine()
    body = {"messages": [{"role": "user", "content": "x" * 2000}]}
    headers = [] if declared else [("content-length", "0")]
    with Counted() as counted:
        got = await ask(gate(engine), body, headers=headers)

    assert got.status == 413
    assert got.json()["error"]["code"] == "request_too_large"
    assert "2000 bytes" in got.json()["error"]["message"]
    assert engine.bodies == []
    assert counted.moved() == {"requests_refused_total{reason=body_too_large}": 1}


@pytest.mark.parametrize(
    "refusal", [closed_path("/docs"), misdirected(), unknown_key(), too_large(2000)]
)
def test_a_client_is_told_what_a_client_can_do(refusal: Refusal) -> None:
    assert "send" in refusal.message
    assert re.findall(r"setting|\bgate\.|\bspec\.", refusal.message) == []


def test_a_server_without_any_key_fails_with_the_reason(tmp_path: Path) -> None:
    check_api_keys(None)
    (tmp_path / "password").write_text("of another application")
    (tmp_path / "api-keys").write_text("# none\n \n")
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidConfigurationError, match=r"remove gate\.api_keys"):
            check_api_keys(str(directory))

    (tmp_path / "api-keys").write_text("k")
    check_api_keys(str(tmp_path))
