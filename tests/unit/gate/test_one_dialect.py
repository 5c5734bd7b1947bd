"""What the engine says in other shapes reaches clients in the format of OpenAI's API."""

import json
import logging
from typing import Any

import pytest

from gate_engine import CHAT, COMPLETIONS, Counted, FakeEngine, ask, gate
from mistral_server.gate.asgi import Message, Receive, Scope, Send
from mistral_server.gate.engine_errors import MAX_BODY_BYTES

USER = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"messages": [USER]}
PNG = "data:image/png;base64,iVBORw0KGgo"


class ErrorEngine:
    """An application that answers with an error, whole or as a stream, or raises."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self._status, self._body = status, body
        self._headers = {"content-type": "application/json", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        half = len(self._body) // 2
        for part, more in ((self._body[:half], True), (self._body[half:], False)):
            await send({"type": "http.response.body", "body": part, "more_body": more})


def vllm(message: str, status: int = 400, kind: str = "BadRequestError", param: Any = None) -> Any:
    """Return an error as vLLM has it."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return ErrorEngine(status, json.dumps({"error": error}).encode())


def schema(of: Any) -> dict[str, Any]:
    """Return a chat that constrains its response."""
    return {
        **BODY,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": of}},
    }


def images(*urls: str) -> dict[str, Any]:
    """Return a chat with images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *parts]}]}


MARK = "\n   1 | start: SAFE_WS? %json {}\n              ^\n   2 | body: content"
REPORTED = {
    # what vLLM 0.32 says of which request: status, code, param, message
    "another model": (
        vllm("The model `gpt-4` does not exist. Valid aliases: tiny.", 404, "NotFoundError"),
        BODY,
        (404, "model_not_found", "model", "The model `gpt-4` does not exist. Valid aliases: tiny."),
    ),
    "a long prompt": (
        vllm(
            "This model's maximum context length is 2048 tokens. However, your prompt contains"
            " 10028 input tokens. (parameter=input_tokens, value=10028)",
            param="input_tokens",
        ),
        BODY,
        (
            *(400, "context_length_exceeded", "messages"),
            (
                "This model's maximum context length is 2048 tokens. However, your prompt contains"
                " 10028 input tokens."
            ),
        ),
    ),
    "a schema with a type that does not exist": (
        vllm(f"Grammar error: at 1(8): failed to compile JSON schema: Invalid type: text{MARK}"),
        schema({"type": "text"}),
        (
            *(400, "invalid_json_schema", "response_format.json_schema.schema"),
            "The JSON schema that constrains the response is not usable: Invalid type: text",
        ),
    ),
    "a tool whose parameters are no schema": (
        vllm("Invalid tool schema: 'text' is not valid under any of the given schemas"),
        {**BODY, "tools": [{"type": "function", "function": {"name": "f"}}]},
        (
            *(400, "invalid_json_schema", "tools"),
            (
                "The parameters of a tool are not a JSON schema: 'text' is not valid under any"
                " of the given schemas"
            ),
        ),
    ),
    "a regular expression": (
        vllm(
            'Grammar error: at 1(8): invalid regex "(a" (in regex): regex parse error:\n    (a\n'
            f"    ^\nerror: unclosed group{MARK}"
        ),
        {**BODY, "structured_outputs": {"regex": "(a"}},
        (
            *(400, "invalid_grammar", "structured_outputs"),
            (
                "The grammar or regular expression that constrains the response is not usable:"
                ' invalid regex "(a" (in regex): regex parse error:\n    (a\n    ^\n'
                "error: unclosed group"
            ),
        ),
    ),
    "too many images": (
        vllm("At most 2 image(s) may be provided in one prompt. (parameter=image)", param="image"),
        BODY,
        (
            *(400, "limit_exceeded", "messages"),
            "At most 2 image(s) may be provided in one prompt.",
        ),
    ),
    "the assistant last": (
        vllm("Cannot set `add_generation_prompt` to True when the last message is from the ..."),
        BODY,
        (
            *(400, "invalid_message_order", "messages"),
            (
                "The last message is from the assistant: end with one of the user or a tool, or set"
                " `continue_final_message` to true and `add_generation_prompt` to false."
            ),
        ),
    ),
    "a system message in the middle": (
        vllm("Unexpected role 'system' after role 'assistant'"),
        BODY,
        (
            *(400, "invalid_message_order", "messages"),
            (
                "The order of the messages is not one that the model knows: Unexpected role"
                " 'system' after role 'assistant'"
            ),
        ),
    ),
    "an empty answer in the history": (
        vllm("Invalid assistant message: role='assistant' content='' tool_calls=None prefix=False"),
        BODY,
        (
            *(400, "invalid_value", "messages"),
            "A message of the assistant has neither content nor tool_calls.",
        ),
    ),
    "another model's reasoning in the history": (
        vllm("Think not implemented for tokenizer < V13."),
        BODY,
        (
            *(400, "unsupported_value", "messages"),
            (
                "A message of the assistant has reasoning, for which the model has no format:"
                " remove `reasoning_content` and `reasoning`."
            ),
        ),
    ),
    "a tool message without content": (
        vllm("'content'"),
        BODY,
        (
            *(400, "missing_required_parameter", "messages"),
            "The request lacks a required field: content",
        ),
    ),
    "a missing field": (
        vllm(
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field"
            " required', 'input': '<dict of 3 items>'}",
            kind="Bad Request",
            param="body.messages",
        ),
        {},
        (400, "missing_required_parameter", "messages", "messages: Field required"),
    ),
    "fields of another type": (
        vllm(
            "2 validation errors:\n  {'type': 'string_type', 'loc': 'body.stop', 'msg': 'Input"
            " should be a valid string', 'input': '5'}\n  {'type': 'list_type', 'loc': 'body.stop',"
            " 'msg': \"It's no list\", 'input': '5'}",
            param="body.stop",
        ),
        BODY,
        (
            *(400, "invalid_value", "stop"),
            "stop: Input should be a valid string; stop: It's no list",
        ),
    ),
    "fields as vLLM 0.26 names them": (
        vllm(
            "1 validation error:\n  {'type': 'int_parsing', 'loc': ('body', 'tokens', 0), 'msg':"
            " 'Input should be a valid integer', 'input': 'a'}"
        ),
        BODY,
        (400, "invalid_value", "tokens[0]", "tokens[0]: Input should be a valid integer"),
    ),
    "names of classes are none of the request": (
        vllm(
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.0.ToolCallParam.custom',"
            " 'msg': 'Field required', 'input': {}}",
            param="body.0.ToolCallParam.custom",
        ),
        BODY,
        (400, "missing_required_parameter", None, "Field required"),
    ),
    "a parameter": (
        vllm(
            "Requested sample logprobs of 50, which is greater than max allowed: 20"
            " (parameter=logprobs, value=50)",
            param="logprobs",
        ),
        BODY,
        (
            *(400, "invalid_value", "logprobs"),
            "Requested sample logprobs of 50, which is greater than max allowed: 20",
        ),
    ),
    "nothing known": (
        vllm("n must be at least 1, got 0."),
        BODY,
        (400, "invalid_request", None, "n must be at least 1, got 0."),
    ),
    "what is not implemented": (
        vllm("Not for this model", 501, "NotImplementedError"),
        BODY,
        (400, "invalid_request", None, "Not for this model"),
    ),
    "an encoding that is not implemented": (
        vllm("Only base64 data URLs are supported for now.", 501, "NotImplementedError"),
        BODY,
        (
            *(400, "invalid_base64", "messages"),
            "An image is not in base64: send a data: URL such as data:image/png;base64,iVBORw...",
        ),
    ),
    "a method": (
        ErrorEngine(405, b'{"detail":"Method Not Allowed"}', allow="POST"),
        BODY,
        (
            *(405, "method_not_supported", None),
            "POST is not supported for /v1/chat/completions: send POST.",
        ),
    ),
    "a path": (
        ErrorEngine(404, b'{"detail":"Not Found"}'),
        BODY,
        (404, "not_found", None, "/v1/chat/completions does not exist at this endpoint."),
    ),
    "a list as detail": (
        ErrorEngine(422, b'{"detail":[{"loc":[]}]}'),
        BODY,
        (422, "invalid_request", None, ""),
    ),
    "an error that is a text": (
        ErrorEngine(503, b'{"error":"The model is currently scaling."}'),
        BODY,
        (503, "overloaded", None, "The model is currently scaling."),
    ),
    "a full queue": (
        vllm("Too many requests", 429, "Too Many Requests"),
        BODY,
        (429, "rate_limit_exceeded", None, "Too many requests"),
    ),
    "the request in each of its errors": (
        ErrorEngine(400, b'{"error":{"code":400,"message":"%b"}}' % (b"x" * MAX_BODY_BYTES)),
        BODY,
        (400, "invalid_request", None, ""),
    ),
}


@pytest.mark.parametrize("case", REPORTED)
async def test_one_dialect(configure: Any, case: str) -> None:
    engine, body, expected = REPORTED[case]
    got = await ask(gate(engine), body)
    error = got.json()["error"]

    assert (got.status, error["code"], error["param"], error["message"]) == expected
    assert isinstance(error["code"], str)
    kinds = {429: "rate_limit_error", 503: "server_error"}
    assert error["type"] == kinds.get(got.status, "invalid_request_error")
    assert list(error) == ["message", "type", "param", "code"]
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize(
    ("path", "param"), [(CHAT, "messages"), (COMPLETIONS, "prompt"), ("/v1/responses", "input")]
)
async def test_each_path_has_its_field_for_the_prompt(
    configure: Any, path: str, param: str
) -> None:
    configure(gate={"paths": [path]})
    engine, _, _ = REPORTED["a long prompt"]
    got = await ask(gate(engine), BODY, path)

    assert got.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("urls", "which"),
    [
        ((f"{PNG}=", f"{PNG}!!=="), "Image 2 (messages[0].content[2].image_url)"),
        ((f"{PNG}!", f"{PNG}="), "Image 1 (messages[0].content[1].image_url)"),
        ((), "An image"),
    ],
)
async def test_the_image_that_is_not_base64_is_named(
    configure: Any, monkeypatch: pytest.MonkeyPatch, urls: tuple[str, ...], which: str
) -> None:
    monkeypatch.setattr("mistral_server.gate.limits.pixels", lambda _: 64)
    got = await ask(gate(vllm("Non-base64 digit found")), images(*urls) if urls else BODY)
    error = got.json()["error"]

    assert error["code"] == "invalid_base64"
    assert error["message"].startswith(f"{which} is not in base64: send a data: URL")


async def test_hosts_of_images_are_not_listed(configure: Any) -> None:
    configure(engine={"media_domains": ["images.example.com"]})
    message = (
        "The URL must be from one of the allowed domains: ['images.example.com']. Input URL domain:"
        " other.example.com"
    )
    got = await ask(gate(vllm(message)), images("https://other.example.com/a.png"))
    error = got.json()["error"]

    assert error["code"] == "image_url_not_allowed"
    assert "fetches no images from other.example.com: send" in error["message"]
    assert "images.example.com" not in error["message"]


async def test_an_image_from_a_host_that_is_allowed_reaches_the_engine(configure: Any) -> None:
    configure(engine={"media_domains": ["images.example.com"]})
    engine = FakeEngine()
    body = images("https://images.example.com/a.png")

    assert (await ask(gate(engine), body)).status == 200
    assert engine.request["messages"] == body["messages"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"m","type":"t","param":null,"code":"a_code"}}',
        b'{"error":{"message":"m","type":"t","param":null,"code":null}}',
        b'{"type":"error","error":{"type":"invalid_request_error","message":"of another API"}}',
        b'{"object":"error","message":"m","code":400}',
        b"null",
        b"[1]",
        b"not JSON",
        b"",
    ],
)
async def test_what_is_in_a_format_stays_as_it_is(configure: Any, body: bytes) -> None:
    got = await ask(gate(ErrorEngine(400, body)), BODY)

    assert (got.status, got.body) == (400, body)


async def test_another_type_of_content_stays_as_it_is(configure: Any) -> None:
    body = b'{"detail":"Not Found"}'
    engine = ErrorEngine(404, body, **{"content-type": "text/plain"})

    assert (await ask(gate(engine), BODY)).body == body


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


class StreamedError:
    """An application whose stream has an error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        error = {
            "message": f"Grammar error: at 1(8): failed to compile JSON schema: No{MARK}",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
        event = f"data: {json.dumps({'error': error})}\n\n".encode()
        for part in (event, b"data: [DONE]\n\n"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


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


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": [USER], "input": []}, "empty_array", "input"),
        ({"messages": None}, "invalid_request", "messages"),
        ({"messages": [{"role": 1}]}, "invalid_request", "messages[0].role"),
        (
            {
                "messages": [
                    USER,
                    {"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]},
                ]
            },
            "invalid_request",
            "messages[1].tool_calls[0].function.arguments",
        ),
        (images("data:image/png,x"), "invalid_base64", "messages[0].content[1].image_url"),
        (
            images(f"{PNG}=", "file:///etc/passwd"),
            "image_url_not_allowed",
            "messages[0].content[2].image_url",
        ),
    ],
)
async def test_what_the_gate_refuses_has_a_place(
    configure: Any, body: dict[str, Any], code: str, param: str
) -> None:
    engine = FakeEngine()
    got = await ask(gate(engine), body, CHAT)
    error = got.json()["error"]

    assert (got.status, error["code"], error["param"]) == (400, code, param)
    assert engine.bodies == []
