"""Events of streams: usual, unusual and invalid ones."""

import json
from typing import Any

from hypothesis import strategies as st

from gate_engine import EOS, HEAD, chunk

TEXTS = (
    *(
        "",
        "Hi",
        " of",
        "la ",
        "7",
        "17",
        "\n",
        "é",
        "\u2028",
        "\U0001f600",
        '"',
        "\\",
        "\\\\",
        "\x7f",
    ),
    *('a "token_ids":[1] ', '\\"token_ids\\":[1]', '"},"logprobs":null,', '"delta":{}', "data: {"),
    *('"token_ids', "token_ids\\", "Step 17: take step 18.\n", "[DONE]"),
)
IDS: tuple[list[Any] | None, ...] = (
    *([5], [131_071], [0], [55_296], [1, 2, 3], [7] * 40, [], None),
    *([1_114_112], [10**30], [-5], [1.0], [True], ["1"], [None]),
)
PLAIN = ("content", "reasoning", "text", "twice", "role")


def plain(kind: str, text: str, ids: list[Any] | None, index: int = 0) -> dict[str, Any]:
    """Return an event with a text."""
    deltas = {
        "reasoning": {"reasoning": text},
        "role": {"role": "assistant", "content": text},
        "twice": {"reasoning": text, "content": text},
    }
    one = chunk(deltas.get(kind, {"content": text}), index=index)
    one["choices"][0]["token_ids"] = ids
    if kind == "text":
        del one["choices"][0]["delta"]
        one["choices"][0] = {"index": index, "text": text, **one["choices"][0]}
    return one


CALL = {"index": 0, "id": "abcdef123", "function": {"name": "f", "arguments": ""}}
MORE = {"index": 0, "function": {"arguments": '{"x":'}}
LOGPROBS = {"content": [{"token": "Hi", "logprob": -1.5, "bytes": [72, 105], "token_ids": [1]}]}
OTHERS: tuple[dict[str, Any], ...] = (
    chunk({"role": "assistant", "content": ""}) | {"prompt_token_ids": [1, 3, 4]},
    chunk({"content": "Hi"}, [5], prompt_token_ids=[1, 3]),
    chunk({"content": "Hi"}, [5], logprobs=LOGPROBS),
    chunk({"content": "Hi"}, [5], delta_of={"content": "other", "token_ids": [9]}),
    chunk({"content": "Hi"}, [5]) | {"token_ids": [7]},
    chunk({"content": "Hi"}, [5]) | {"content": "nobody's", "usage": {"completion_tokens": 3}},
    chunk({"content": "Hi"}, [5]) | {"created": 2},
    chunk({"content": "Hi", "tool_calls": [CALL]}, [5]),
    chunk({"content": "Hi"}, [5], text="Hi"),
    chunk({}, [9]),
    chunk({}, [9], logprobs={"content": []}),
    chunk({"tool_calls": [CALL]}, [9, 5]),
    chunk({"tool_calls": [MORE]}, [6]),
    chunk({"content": "Hi"}, [5], stop_reason="x"),
    chunk({"content": ""}, [EOS], "stop"),
    chunk({}, [6], "tool_calls"),
    chunk({}, [], "repetition", stop_reason="repetition_detected"),
    {**HEAD, "choices": [], "usage": {"completion_tokens": 3}},
    {
        **HEAD,
        "choices": [one for at in (0, 1) for one in plain("content", "Hi", [5], at)["choices"]],
    },
    {"token_ids": [1], **plain("content", "Hi", [5])},
)
RAW = (
    *(b"data: [DONE]", b": keep-alive", b"", b"\n", b"event: x\ndata: {}", b"data: {", b"data:{}"),
    *(b'data: {"choices":7}', b"data: {\xff}", b'data: {"choices":[{"index":"x"}]}'),
    b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"b"},"token_ids":[5]}]}',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"token_ids":[5],"token_ids":[6]}]}',
    b'data: {"choices":[{"index":0,"token_ids":[5],"delta":{"content":"a"}}]}',
    b'data: {"x\\"content":"y","choices":[{"index":0,"text":"a","token_ids":[5]}]}',
    b'data: {\n"choices":[{"index":0,"delta":{"content":"a"},"token_ids": [5, 6]}]}',
)
_SEPARATORS = ((",", ":"), (", ", ": "))


def encoded(event: dict[str, Any], style: int = 0) -> bytes:
    """Return an event in one of four styles of JSON, without its end."""
    separators, ascii_only = _SEPARATORS[style % 2], style > 1
    return b"data: " + json.dumps(event, separators=separators, ensure_ascii=ascii_only).encode()


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Return an event without its end, three in four of them with a text."""
    style = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        return draw(st.one_of(st.sampled_from(RAW), st.sampled_from(OTHERS).map(encoded)))
    texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=5))
    event = plain(
        draw(st.sampled_from(PLAIN)),
        draw(texts.filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text))),
        draw(st.sampled_from(IDS)),
        draw(st.integers(0, 1)),
    )
    return encoded(event, style)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return an ordinary event with some bytes put in, taken out or replaced."""
    event = encoded(
        plain("content", draw(st.sampled_from(TEXTS)), [5, 6][: draw(st.integers(1, 2))])
    )
    at = draw(st.integers(0, len(event)))
    odd = [
        b'"',
        b"\\",
        b",",
        b"]",
        b"}",
        b"0",
        b"-",
        b" ",
        b"\t",
        b"\n",
        b"\xff",
        b"\\u2028",
        b"1e2",
    ]
    put = draw(st.sampled_from([b"", *odd]))
    return event[:at] + put + event[at + draw(st.integers(0, 2)) :]


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Return the messages of a stream: mostly an event each, and sometimes split anywhere."""
    one = st.one_of(events(), events(), damaged())
    runs = draw(st.lists(st.tuples(one, st.sampled_from([1, 1, 2, 5, 300])), max_size=12))
    messages = [event + b"\n\n" for event, times in runs for _ in range(times)]
    if draw(st.booleans()):
        return messages
    data, size = b"".join(messages), draw(st.sampled_from([1, 7, 100, 250, 1000]))
    return [data[at : at + size] for at in range(0, min(len(data), 400 * size), size)]
