"""`kubectl msd chat` forwards a port, sends a chat and prints what arrives."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import click
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from builders import NAME, NAMESPACE
from mistral_operator.plugin.chat_command import answer_of, headers_of
from mistral_operator.plugin.chat_target import Target
from mistral_operator.plugin.conversation import (
    error_of_answer,
    request_of,
    shown,
    text_of_event,
)
from mistral_operator.plugin.port_forward import ForwardFailed, forwarded
from mistral_operator.plugin.session import Access
from plugin_commands import fake_kubectl

TARGET = Target(NAMESPACE, f"service/{NAME}", 8000)

BODY = request_of("small", [{"role": "user", "content": "Hi"}], None)


async def answered(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
    """Return what is read of an answer of an endpoint."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{server.port}/v1"
        return "".join([part async for part in answer_of(session, url, BODY)])


def stream(*events: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return an endpoint whose answer is a stream of events."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="".join(f"data: {one}\n\n" for one in events))

    return answer


HI = '{"choices": [{"delta": {"content": "Hi"}}]}'


async def test_a_whole_stream_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert await answered(stream(HI, HI, "[DONE]")) == "HiHi"
    assert capsys.readouterr().out == "HiHi"


ERRORS = {
    "an error": (['{"error": {"message": "engine\\u001b[31m died", "code": 500}}'], "engine died"),
    "an error and the end": (
        ['{"error": {"message": "engine died"}}', "[DONE]"],
        "engine died",
    ),
    "an error of another form": (['{"object": "error", "message": "engine died"}'], "engine died"),
    "an error that is a text": (['{"error": "engine died"}'], "engine died"),
    "an error without a message": (['{"error": {"code": 500}}'], '{"code": 500}'),
    "no end": ([], "the response ended early"),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
async def test_a_response_that_fails_on_its_way_is_an_error(
    case: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    events, message = case

    with pytest.raises(click.ClickException) as raised:
        await answered(stream(HI, *events))

    assert raised.value.message == message
    assert capsys.readouterr().out == "Hi\n"


async def test_a_line_that_is_too_long_is_an_error() -> None:
    with pytest.raises(click.ClickException, match="a line of the response is too long"):
        await answered(stream(2_000_000 * "x"))


@pytest.mark.parametrize(("key", "kept"), [("k\r\n", "k"), (" k", "k"), ("k", "k")])
def test_a_key_is_taken_without_spaces_around_it(key: str, kept: str) -> None:
    assert headers_of(key) == {"Authorization": f"Bearer {kept}"}


@pytest.mark.parametrize("key", ["a\r\nb", "a\x00"])
def test_a_key_that_cannot_be_sent_is_an_error(key: str) -> None:
    with pytest.raises(click.ClickException, match="the API key has a line break"):
        headers_of(key)


def test_without_a_key_none_is_sent() -> None:
    assert headers_of(None) == headers_of("\n") == {}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_conversation_is_not_sent_where_an_endpoint_redirects_it(status: int) -> None:
    paths = list[str]()

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    with pytest.raises(click.ClickException, match=f"{status}: "):
        await answered(answer)
    assert paths == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('data: {"choices": [{"delta": {"content": "Hi"}}]}', "Hi"),
        ('data: {"choices": [{"delta": {"role": "assistant"}}]}', ""),
        ('data: {"choices": []}', ""),
        ('data: {"choices": [{"delta": null}, 7]}', ""),
        ("data: [DONE]", ""),
        (": comment", ""),
        ("", ""),
    ],
)
def test_the_text_of_a_stream_is_read(line: str, text: str) -> None:
    assert text_of_event(line) == text


def test_a_request_streams() -> None:
    messages = [{"role": "user", "content": "Hi"}]

    assert request_of("small", messages, 7) == {
        "model": "small",
        "messages": messages,
        "stream": True,
        "max_tokens": 7,
    }
    assert "max_tokens" not in request_of("small", messages, None)


def test_a_rejection_is_quoted() -> None:
    assert error_of_answer(401, '{"error": {"message": "wrong API key"}}') == "401: wrong API key"
    assert error_of_answer(502, "<html>") == "502: <html>"


def test_the_model_does_not_control_the_terminal() -> None:
    assert shown("a\x1b[2J\nb\tc\x07") == "a[2J\nb\tc"


async def test_a_port_is_forwarded_while_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    arguments = tmp_path / "arguments"
    async with TestServer(app, host="127.0.0.1") as server:
        script = (
            "import sys, time, pathlib\n"
            f"pathlib.Path({str(arguments)!r}).write_text(' '.join(sys.argv[1:]))\n"
            f"print('Forwarding from 127.0.0.1:{server.port} -> 8000', flush=True)\n"
            "time.sleep(60)"
        )
        fake_kubectl(tmp_path, monkeypatch, script)
        async with (
            forwarded(Access(context="other"), TARGET) as url,
            aiohttp.ClientSession() as session,
            session.get(f"{url}/models") as response,
        ):
            assert await response.text() == "/v1/models"
    assert arguments.read_text() == (
        "--context other port-forward --namespace models service/small :8000 --address 127.0.0.1"
    )


async def test_what_kubectl_reports_is_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_kubectl(tmp_path, monkeypatch, "import sys; sys.exit('error: no pod is ready')")

    with pytest.raises(ForwardFailed, match="port-forward failed: error: no pod is ready"):
        async with forwarded(Access(), TARGET):
            pass


async def test_the_cause_is_not_hidden_by_what_kubectl_logs_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = 'E1201 04:30:06.256476 400 memcache.go:265] "Unhandled Error" err="metrics.k8s.io"\n'
    script = f"import sys; sys.exit({noise * 3!r} + 'error: no pod is ready')"
    fake_kubectl(tmp_path, monkeypatch, script)

    with pytest.raises(ForwardFailed) as caught:
        async with forwarded(Access(), TARGET):
            pass

    assert str(caught.value) == "kubectl port-forward failed: error: no pod is ready"


async def test_without_kubectl_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ForwardFailed, match="kubectl cannot be started: No such file"):
        async with forwarded(Access(), TARGET):
            pass
