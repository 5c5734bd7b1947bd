"""Exceptions of the engine, and errors within its streams, reach clients in one format too."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from error_engine import BODY, MARK, schema, vllm
from gate_engine import Counted, ask, gate
from mistral_server.gate.asgi import Message, Receive, Scope, Send


async def test_what_failed_in_the_server_is_in_its_log_and_not_in_the_answer(
    configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = vllm("CUDA error in /usr/lib/x", 500, "InternalServerError")
    got = await ask(gate(engine), BODY, headers=[("X-Request-Id", "mine")])

    assert got.status == 500
    assert got.json()["error"] == {
        "message": "The server failed at this request. Its log has the reason under mine.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    assert "Request mine failed with status 500: CUDA error in /usr/lib/x" in caplog.text


async def raising(error: Exception, *, began: bool = False, **more: Any) -> Any:
    """Return what a client gets from an application that raises."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if began:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise error

    return await ask(gate(application), BODY, **more)


async def test_an_exception_is_the_servers_error(
    configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    got = await raising(RuntimeError("broken"), headers=[("X-Request-Id", "mine")])

    assert (got.status, got.json()["error"]["code"]) == (500, "internal_error")
    assert got.headers["x-request-id"] == "mine"
    assert "Request mine failed" in caplog.text
    assert "RuntimeError: broken" in caplog.text

    # The text of a KeyError is a name alone, which is a field of the request in other errors.
    assert (await raising(KeyError("content"))).status == 500


async def test_an_exception_of_the_clients_making_is_its_error_without_traceback(
    configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    got = await raising(KeyError("Invalid token for decoding: 9999000"), path="/detokenize")

    assert got.status == 400
    assert got.json()["error"]["param"] == "tokens"
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_an_exception_within_a_response_breaks_it(configure: Any) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        await raising(RuntimeError("broken"), began=True)


@dataclass(frozen=True)
class StreamedError:
    """An application whose stream has an error."""

    message: str = f"Grammar error: at 1(8): failed to compile JSON schema: No{MARK}"
    type: str = "BadRequestError"
    code: int = 400

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        error = {
            "message": self.message,
            "type": self.type,
            "param": None,
            "code": self.code,
        }
        event = f"data: {json.dumps({'error': error})}\n\n".encode()
        for part in (event, b"data: [DONE]\n\n"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_what_failed_within_a_stream_is_in_the_log_too(
    configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = StreamedError("CUDA error in /usr/lib/x", "InternalServerError", 500)
    body = {**schema({}), "stream": True}
    got = await ask(gate(engine), body, headers=[("X-Request-Id", "mine")])

    error, _ = got.events()
    assert error["error"]["message"] == (
        "The server failed at this request. Its log has the reason under mine."
    )
    assert "Request mine failed with status 500: CUDA error in /usr/lib/x" in caplog.text


async def test_an_error_in_a_stream_is_in_the_same_dialect(configure: Any) -> None:
    with Counted() as counted:
        got = await ask(gate(StreamedError()), {**schema({}), "stream": True})

    error, done = got.events()
    assert done == "[DONE]"
    assert error["error"] == {
        "message": "The JSON schema that constrains the response is not usable: No",
        "type": "invalid_request_error",
        "param": "response_format.json_schema.schema",
        "code": "invalid_json_schema",
    }
    assert counted.moved() == {}
