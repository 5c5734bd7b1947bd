"""The Transformers example finds tool calls among tokens, as Mistral's v11 format writes them."""

import json
from pathlib import Path
from typing import Any

import mistral_common
import pytest
import tool_calls
from mistral_common.protocol.instruct.messages import AssistantMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall, ToolCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tool_calls import Call, MalformedCallError

from mistral_dev.images import checkpoint

CONTROL = {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "</s>"}

Tokenizer = MistralTokenizer[Any, Any, Any, Any, Any]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Return the tokenizer of the tiny checkpoint."""
    shipped = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    file = tmp_path_factory.mktemp("tokenizer") / "tekken.json"
    file.write_text(json.dumps(checkpoint.tokenizer(json.loads(shipped.read_text()))))
    return MistralTokenizer.from_file(file)


@pytest.fixture(scope="module")
def tekken(tokenizer: Tokenizer) -> Tekkenizer:
    """Return the tokenizer beneath the chat format."""
    result = tokenizer.instruct_tokenizer.tokenizer
    assert isinstance(result, Tekkenizer)
    return result


def tokens(tekken: Tekkenizer, *parts: str) -> list[int]:
    """Return parts as tokens; markers become control tokens, everything else text."""
    result: list[int] = []
    for part in parts:
        if part in CONTROL:
            result.append(tekken.get_special_token(part))
        else:
            result += tekken.encode(part, bos=False, eos=False)
    return result


ONE = ("[TOOL_CALLS]", "today", "[ARGS]", "{}")
OTHER = ("[TOOL_CALLS]", "add", "[ARGS]", '{"a": 1, "b": [2]}')
WITH_ID = ("[TOOL_CALLS]", "today", "[CALL_ID]", "abcdefghi", "[ARGS]", "{}")
TODAY, ADD = Call("today", {}), Call("add", {"a": 1, "b": [2]})

ANSWERS: dict[str, tuple[tuple[str, ...], tuple[str, list[Call]]]] = {
    "nothing": ((), ("", [])),
    "text": (("Hello.", "</s>"), ("Hello.", [])),
    "one call": ((*ONE, "</s>"), ("", [TODAY])),
    "a call without an end": (ONE, ("", [TODAY])),
    "a call with an id": ((*WITH_ID, "</s>"), ("", [TODAY])),
    "text and two calls": (("Wait.", *ONE, *OTHER, "</s>"), ("Wait.", [TODAY, ADD])),
    "text that looks like a call": (("".join(ONE), "</s>"), ("".join(ONE), [])),
}

MALFORMED = {
    "no name": (("[TOOL_CALLS]", "[ARGS]", "{}"), "must be followed by a name"),
    "no arguments": (("[TOOL_CALLS]", "today"), "must be followed by a name"),
    "arguments twice": ((*ONE, "[ARGS]", "{}"), "must be followed by a name"),
    "half the arguments": (("[TOOL_CALLS]", "add", "[ARGS]", '{"a": '), "not JSON, or were cut"),
    "a list": (("[TOOL_CALLS]", "add", "[ARGS]", "[1]"), "are not an object"),
}


@pytest.mark.parametrize(("parts", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_text_and_calls_are_found(
    tekken: Tekkenizer, parts: tuple[str, ...], expected: tuple[str, list[Call]]
) -> None:
    assert tool_calls.parse(tokens(tekken, *parts), tekken) == expected


@pytest.mark.parametrize(("parts", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_call_is_an_error_that_says_so(
    tekken: Tekkenizer, parts: tuple[str, ...], words: str
) -> None:
    with pytest.raises(MalformedCallError) as caught:
        tool_calls.parse(tokens(tekken, *parts), tekken)

    assert words in str(caught.value)


def test_what_mistrals_own_tokenizer_writes_is_read_back(
    tokenizer: Tokenizer, tekken: Tekkenizer
) -> None:
    function = FunctionCall(name="add", arguments=json.dumps(ADD.arguments))
    made = AssistantMessage(tool_calls=[ToolCall(id="abcdefghi", function=function)])
    messages = [UserMessage(content="1?"), made, ToolMessage(content="3", tool_call_id="abcdefghi")]
    request: ChatCompletionRequest[Any] = ChatCompletionRequest(messages=messages)
    prompt = tokenizer.encode_chat_completion(request).tokens
    begin = prompt.index(tekken.get_special_token("[TOOL_CALLS]"))
    call = prompt[begin : prompt.index(tekken.eos_id)]

    assert tool_calls.parse(call, tekken) == ("", [ADD])
