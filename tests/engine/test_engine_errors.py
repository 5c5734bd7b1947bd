"""What the real vLLM says of wrong requests, as clients of an endpoint read it."""

from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from engine_requests import CHAT, COMPLETIONS, ask, user
from server_runner import RunningServer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def images(*urls: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *parts]}]}


def schema(of: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": of}}
    return {"response_format": form}


def history(**assistant: Any) -> dict[str, Any]:
    return {"messages": [user("Hi"), {"role": "assistant", **assistant}, user("Hi")]}


WRONG: dict[str, tuple[Any, ...]] = {
    "another model": (CHAT, {"model": "gpt-4"}, 404, "model_not_found", "model"),
    "another model for text": (COMPLETIONS, {"model": "gpt-4"}, 404, "model_not_found", "model"),
    "a long chat": (
        *(CHAT, {"messages": [user("a b " * 5000)]}),
        *(400, "context_length_exceeded", "messages"),
    ),
    "a long text": (
        *(COMPLETIONS, {"prompt": "a b " * 5000}),
        *(400, "context_length_exceeded", "prompt"),
    ),
    "no messages": (CHAT, {"messages": []}, 400, "empty_array", "messages"),
    "a type that does not exist": (
        *(CHAT, schema({"type": "text"})),
        *(400, "invalid_json_schema", "response_format.json_schema.schema"),
    ),
    "a regular expression": (
        *(CHAT, {"structured_outputs": {"regex": "(a"}}),
        *(400, "invalid_grammar", "structured_outputs"),
    ),
    "a file": (
        *(CHAT, images("file:///etc/passwd")),
        *(400, "image_url_not_allowed", "messages[0].content[1].image_url"),
    ),
    "an image elsewhere": (
        *(CHAT, images("https://images.example.com/a.png")),
        *(400, "image_url_not_allowed", "messages[0].content[1].image_url"),
    ),
    "an image that is not base64": (
        *(CHAT, images(f"data:image/png;base64,{PNG}", f"data:image/png;base64,{PNG[:-8]}!!!=")),
        *(400, "invalid_base64", "messages"),
    ),
    "three images": (
        *(CHAT, images(*[f"data:image/png;base64,{PNG}"] * 3)),
        *(400, "limit_exceeded", "messages"),
    ),
    "the assistant last": (
        *(CHAT, {"messages": [user("Hi"), {"role": "assistant", "content": "x"}]}),
        *(400, "invalid_message_order", "messages"),
    ),
    "an empty answer": (CHAT, history(content=""), 400, "invalid_value", "messages"),
    "the reasoning of another model": (
        *(CHAT, history(content="x", reasoning_content="r")),
        *(400, "unsupported_value", "messages"),
    ),
    "another type": (CHAT, {"stop": 5}, 400, "invalid_value", "stop"),
    "a missing field": ("/detokenize", {}, 400, "missing_required_parameter", "tokens"),
    "a token beyond the vocabulary": (
        *("/detokenize", {"tokens": [10**7]}),
        *(400, "invalid_value", "tokens"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_gets_an_error_of_openai(shared_server: RunningServer, case: str) -> None:
    path, body, status, code, param = WRONG[case]
    answer = ask(shared_server, path, **body)
    error = answer.json["error"]

    assert (answer.status, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]
    assert ".invalid" not in answer.body


def test_an_error_in_a_stream_is_one_of_openai(shared_server: RunningServer) -> None:
    (event,) = ask(shared_server, stream=True, **schema({"type": "text"})).events

    assert event["error"]["code"] == "invalid_json_schema"
    assert event["error"]["message"].endswith("is not usable: Invalid type: text")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "method_not_supported"),
        ("DELETE", "/v1/models", 405, "method_not_supported"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
        ("GET", "/v1/models/tiny", 200, ""),
    ],
)
def test_other_methods_and_models(
    shared_server: RunningServer, method: str, path: str, status: int, code: str
) -> None:
    request = Request(f"http://127.0.0.1:{shared_server.settings.port}{path}", method=method)
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - our own loopback address
            got, body = answer.status, answer.read().decode()
    except HTTPError as error:
        got, body = error.code, error.read().decode()

    assert got == status
    assert (f'"code": "{code}"' if code else '"id":"tiny"') in body


@pytest.mark.parametrize("effort", ["none", "low", "medium", "xhigh"])
def test_an_effort_is_no_error_for_a_model_that_has_none(
    shared_server: RunningServer, effort: str
) -> None:
    assert ask(shared_server, reasoning_effort=effort).status == 200


def test_a_response_has_the_id_of_its_request(shared_server: RunningServer) -> None:
    answer = ask(shared_server)

    assert answer.json["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
    shared_server.until(lambda: answer.headers["x-request-id"] in shared_server.output.read_text())
    log = shared_server.output.read_text()
    (line,) = (one for one in log.splitlines() if answer.headers["x-request-id"] in one)
    assert f'"method":"POST","path":"{CHAT}","status":200,' in line
    assert "HTTP/1.1" not in log, "uvicorn writes a second line"
