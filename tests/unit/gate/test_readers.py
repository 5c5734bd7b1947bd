"""What the engine reads, the gate has read: the same value, of the same one of repeated keys."""

import json
from typing import Any

import pytest

from gate_engine import CHAT, COMPLETIONS, Counted, FakeEngine, ask, gate, words
from hostile_requests import (
    USER,
    gif,
    image_part,
    jpeg,
    png,
    unread_texts,
    webp,
    with_parts,
)
from mistral_server.contract import LimitSettings
from mistral_server.gate.images import pixels
from mistral_server.gate.limits import unread_refusal

LOOPS = {"gate": {"loops": {"action": "Stop"}}}


def image(content: bytes) -> str:
    """Return the address of an image."""
    url: str = image_part(content)["image_url"]["url"]
    return url


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (png(640, 480), 640 * 480),
        (png(640, 480, 200_000), 640 * 480),
        (gif(64, 48), 64 * 48),
        (jpeg(640, 480), 640 * 480),
        (jpeg(640, 480, 300_000), 640 * 480),
        (webp(640, 480), 640 * 480),
        (png(640, 480, again=(64, 48)), 640 * 480),
        (webp(640, 480, b"VP8 "), 640 * 480),
        (webp(640, 480, b"VP8X"), 640 * 480),
        (b"no image", None),
        (png(640, 480)[:20], None),
        (webp(640, 480)[:29], None),
        (b"RIFF" + bytes(4) + b"WEBPxxxx" + bytes(20), None),
        (b"", None),
    ],
)
def test_the_size_of_an_image_is_in_its_header(content: bytes, count: int | None) -> None:
    assert pixels(image(content)) == count


@pytest.mark.parametrize("title", unread_texts())
def test_a_text_that_is_long_to_read_is_refused_unread(title: str) -> None:
    refused = unread_refusal(unread_texts()[title], LimitSettings())

    assert refused is not None
    assert refused.reason == "text_bytes"


@pytest.mark.parametrize("slash", ["/", "\\/", "_"])
async def test_an_image_of_megabytes_is_no_text(configure: Any, slash: str) -> None:
    photo = image_part(jpeg(640, 480) + bytes(range(256)) * 20_000)
    body = json.dumps(with_parts(photo)).replace("/", slash).replace("data:image_", "data:image/")
    engine = FakeEngine()

    assert unread_refusal(body.encode(), LimitSettings()) is None
    if slash != "_":
        assert (await ask(gate(engine), body.encode())).status == 200


async def test_ordinary_requests_reach_the_engine(configure: Any) -> None:
    photo = image_part(jpeg(4000, 3000))
    text = {"type": "text", "text": "What is it? " * 10_000}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"maxItems": 10**9}}}
    schema = {"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": 65_536}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    column = {"type": "number", "minimum": -1e9, "maximum": 1e9}
    columns = {f"column{at}": column for at in range(200)}
    row = {"type": "object", "properties": columns, "minProperties": 1, "required": [*columns]}
    options: dict[str, Any] = {f"option{at}": {} for at in range(100)}
    filters = {"properties": options, "minProperties": 1, "maxProperties": 99}
    for body in (
        with_parts(text, *[photo] * 10),
        {"messages": [USER, {"role": "assistant", "content": "Hi"}] * 1000},
        {"messages": [USER], "n": 16, "temperature": "0.7", "tools": [tool] * 128},
        {"messages": [USER], "response_format": wrapped, "seed": None, "stop": ["a"] * 16},
        {"messages": [USER], "structured_outputs": {"json": row}},
        {"messages": [USER], "structured_outputs": {"json": filters}},
        {"messages": [USER], "logprobs": True, "top_logprobs": 20, "repetition_penalty": 1.1},
        {"messages": [{"role": "user", "content": "[{" * 10_000}], "tool_choice": "none"},
    ):
        engine = FakeEngine()
        assert (await ask(gate(engine), body)).status == 200
        assert len(engine.bodies) == 1


@pytest.mark.parametrize("key", ["n", "\\u006e"])
async def test_of_repeated_keys_the_last_one_is_judged_and_sent(configure: Any, key: str) -> None:
    def body(first: int, last: int) -> bytes:
        return b'{"messages":[{"role":"user"}],"n":%d,"%b":%d}' % (first, key.encode(), last)

    engine = FakeEngine()
    assert (await ask(gate(engine), body(10_000, 1))).status == 200
    assert engine.request["n"] == 1
    assert (await ask(gate(engine), body(1, 10_000))).status == 400
    assert len(engine.bodies) == 1


async def test_of_repeated_roles_the_last_one_counts(configure: Any) -> None:
    engine = FakeEngine()
    await ask(gate(engine), b'{"messages":[{"role":"user","content":"X","role":"developer"}]}')

    assert engine.request["messages"][0]["role"] == "system"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("stream", "true", True),
        ("stream", "ON", True),
        ("stream", 1, True),
        ("stream", "no", False),
    ],
)
async def test_texts_that_the_engine_reads_as_true_are_true(
    configure: Any, field: str, text: Any, value: bool
) -> None:
    configure(**LOOPS)
    engine = FakeEngine()
    await ask(gate(engine), {"messages": [USER], field: text})

    assert ("repetition_detection" in engine.request) is not value


async def test_a_text_does_not_turn_loop_detection_off(configure: Any) -> None:
    configure(**LOOPS)
    for fields in ({"echo": "false"}, {"echo": 0}, {"repetition_detection": None}):
        engine = FakeEngine()
        await ask(gate(engine), {"prompt": "x", **fields}, COMPLETIONS)
        assert engine.request["return_token_ids"] is True
        assert engine.request["repetition_detection"]["min_count"] == 8
    engine = FakeEngine()
    await ask(gate(engine), {"messages": [USER], "include_reasoning": "no"})
    assert engine.request["include_reasoning"] is True


@pytest.mark.parametrize("largest", [129, 100_000, "100000", 1e6])
async def test_the_patterns_of_a_clients_own_rule_are_clamped(configure: Any, largest: Any) -> None:
    rule = {"max_pattern_size": largest, "min_pattern_size": 2, "min_count": 3}
    engine = FakeEngine()
    with Counted() as counted:
        await ask(gate(engine), {"messages": [USER], "repetition_detection": rule})

    assert engine.request["repetition_detection"] == rule | {"max_pattern_size": 128}
    assert counted.moved()["requests_changed_total{change=repetition_detection}"] == 1


async def test_no_encoding_of_a_request_lets_its_loop_run(configure: Any) -> None:
    """With NaN in an unknown field, the engine generated until the token limit."""
    configure(**LOOPS)
    body = {"messages": [USER], "stream": True}
    engine = FakeEngine(chunks=words(1500))
    assert 512 <= len((await ask(gate(engine), body)).events()) < 700

    for raw in (
        json.dumps(body | {"x": float("nan")}).encode(),
        json.dumps(body).encode("utf-16"),
        json.dumps(body).encode("utf-8-sig"),
    ):
        engine = FakeEngine(chunks=words(1500))
        assert (await ask(gate(engine), raw, CHAT)).status == 400
        assert engine.sent == 0
