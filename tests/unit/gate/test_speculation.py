"""Sampling parameters that an engine with speculative decoding does not support."""

from typing import Any

import pytest

from gate_engine import CHAT, COMPLETIONS, Counted, FakeEngine, ask, gate

USER = {"role": "user", "content": "Hi"}

UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "logit_bias": ({"logit_bias": {"7": 1}}, "logit_bias"),
    "a bias of nothing": ({"logit_bias": {"7": 0}}, "logit_bias"),
    "min_p": ({"min_p": 0.1}, "min_p"),
    "min_p in a text": ({"min_p": "0.1"}, "min_p"),
    "both": ({"logit_bias": {"7": 1}, "min_p": 0.1}, "logit_bias"),
}
SUPPORTED: dict[str, dict[str, Any]] = {
    "neither": {},
    "no logit_bias": {"logit_bias": None},
    "an empty logit_bias": {"logit_bias": {}},
    "no min_p": {"min_p": None},
    "a min_p of 0": {"min_p": 0},
    "a min_p that vLLM takes for 0": {"min_p": 1e-5},
    "other parameters": {"temperature": 1, "top_p": 0.5, "top_k": 5, "presence_penalty": 1},
}


def request(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a request for a path."""
    return {**({"prompt": "Hi"} if path == COMPLETIONS else {"messages": [USER]}), **fields}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(("fields", "param"), UNSUPPORTED.values(), ids=UNSUPPORTED)
async def test_what_speculation_excludes_is_refused_before_the_engine_sees_it(
    configure: Any, path: str, fields: dict[str, Any], param: str
) -> None:
    configure(engine={"speculation": {}})
    engine = FakeEngine()
    with Counted() as counted:
        got = await ask(gate(engine), request(path, fields), path)

    assert (got.status, got.json()["error"]) == (
        400,
        {
            "message": (
                f"This endpoint uses speculative decoding, which does not support {param}: send the"
                f" request without {param}."
            ),
            "type": "invalid_request_error",
            "param": param,
            "code": "unsupported_value",
        },
    )
    assert engine.bodies == []
    assert counted.moved() == {"requests_refused_total{reason=speculation}": 1}


@pytest.mark.parametrize("fields", SUPPORTED.values(), ids=SUPPORTED)
async def test_everything_else_reaches_the_engine(configure: Any, fields: dict[str, Any]) -> None:
    configure(engine={"speculation": {}})

    assert (await ask(gate(FakeEngine()), request(CHAT, fields))).status == 200


@pytest.mark.parametrize(("fields", "param"), UNSUPPORTED.values(), ids=UNSUPPORTED)
async def test_an_engine_without_speculation_gets_them(
    configure: Any, fields: dict[str, Any], param: str
) -> None:
    engine = FakeEngine()

    assert (await ask(gate(engine), request(CHAT, fields))).status == 200
    assert engine.request[param] == fields[param]
