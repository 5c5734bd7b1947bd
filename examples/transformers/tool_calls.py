"""Tool calls in the tokens that a model of Mistral's v11 format generated. Used by `generate.py`.

A call is `[TOOL_CALLS]name[ARGS]{...}`, and some models write `[CALL_ID]id` before `[ARGS]`. The
markers are control tokens, so they are looked for among the tokens: in decoded text they would be
gone, or look like text that a user could have written.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mistral_common.tokens.tokenizers.base import SpecialTokens
from mistral_common.tokens.tokenizers.tekken import Tekkenizer


class MalformedCallError(ValueError):
    """The model wrote something that is not a call, or the answer was cut in the middle of one."""


@dataclass(frozen=True)
class Call:
    """One call: which function, and with what."""

    name: str
    arguments: dict[str, Any]


def parse(tokens: Sequence[int], tokenizer: Tekkenizer) -> tuple[str, list[Call]]:
    """Return the text of an answer and the calls that follow it.

    Args:
        tokens: what the model generated, without the prompt; the end-of-sequence token may be last.
        tokenizer: the tokenizer of the model.

    Raises:
        MalformedCallError: a call has no name, no arguments, or arguments that are no JSON object.
    """
    own = [token for token in tokens if token != tokenizer.eos_id]
    text, *calls = _split(own, tokenizer.get_special_token(SpecialTokens.tool_calls.value))
    return tokenizer.decode(text).strip(), [_call(one, tokenizer) for one in calls]


def _call(tokens: list[int], tokenizer: Tekkenizer) -> Call:
    head, *rest = _split(tokens, tokenizer.get_special_token(SpecialTokens.args.value))
    name, *_ = _split(head, tokenizer.get_special_token(SpecialTokens.call_id.value))
    function = tokenizer.decode(name).strip()
    if not function or len(rest) != 1:
        raise MalformedCallError(
            f"{tokenizer.decode(tokens)!r} is not a call: [TOOL_CALLS] must be followed by a name,"
            " once [ARGS], and the arguments"
        )
    written = tokenizer.decode(rest[0])
    try:
        arguments = json.loads(written)
    except json.JSONDecodeError as error:
        raise MalformedCallError(
            f"the arguments of {function} are not JSON, or were cut: {written!r}"
        ) from error
    if not isinstance(arguments, dict):
        raise MalformedCallError(f"the arguments of {function} are not an object: {written!r}")
    return Call(function, arguments)


def _split(tokens: Sequence[int], marker: int) -> Iterator[list[int]]:
    """Yield the parts between markers; one more than there are markers."""
    part: list[int] = []
    for token in tokens:
        if token == marker:
            yield part
            part = []
        else:
            part.append(token)
    yield part
