"""What the engine says in other shapes reaches clients in the format of OpenAI's API."""

from typing import Any

import pytest

from error_engine import BODY, PNG, USER, ErrorEngine, images, vllm
from gate_engine import CHAT, COMPLETIONS, FakeEngine, ask, gate
from reported_errors import REPORTED


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
