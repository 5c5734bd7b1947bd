"""Whether a request stays within the limits. Pure.

Every count is a length or a sum of lengths, so judging takes less time than reading did.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mistral_server.contract import LimitSettings
from mistral_server.gate.constraints import (
    constraints_of,
    excessive_length,
    repetitions_of,
    size_of,
)
from mistral_server.gate.document import NotJson, number
from mistral_server.gate.error_responses import (
    Refusal,
    empty,
    image_url_not_allowed,
    limit_exceeded,
    not_base64,
    not_json,
    out_of_range,
    unreadable_image,
    without_speculation,
)
from mistral_server.gate.images import Image, images_of, is_base64, is_data, is_remote, pixels

_RANGES = {
    # Beyond these, vLLM computes with 32 bits, and answers 500 or divides by zero.
    "repetition_penalty": (0.01, 100.0),
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "length_penalty": (-100.0, 100.0),
    "top_k": (-1, 2**31 - 1),
    "min_tokens": (0, 2**31 - 1),
    "max_tokens": (0, 2**63 - 1),
    "max_completion_tokens": (0, 2**63 - 1),
    "thinking_token_budget": (-1, 2**31 - 1),
    "stream_interval": (1, 2**31 - 1),
}
"""Ranges of numbers that are the same for all endpoints, by field."""

_COUNTED = (
    # field, limit, what it has
    ("messages", "messages", "messages"),
    ("input", "messages", "inputs"),
    ("tools", "tools", "tools"),
    ("stop", "stop_strings", "stop strings"),
    ("stop_token_ids", "stop_strings", "stop tokens"),
    ("bad_words", "stop_strings", "bad words"),
    ("logprob_token_ids", "logprobs", "token ids"),
)
_LOGPROBS = ("logprobs", "top_logprobs", "prompt_logprobs")
_OF_IMAGES = string.ascii_letters.encode() + string.digits.encode() + b"+/=-_\\"
"""Bytes of base64, also with escaped slashes and line feeds."""

_LEAST_MIN_P = 1e-5
"""Up to here, vLLM takes `min_p` for none."""

_ALL = -1
"""As a number of log probabilities: one for each token of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request is judged by."""

    limits: LimitSettings
    images: int
    """Maximum number of images; the engine has the same limit, but reads them first."""
    strict_tools: bool
    """Whether the gate makes all tools strict."""
    media_domains: tuple[str, ...] = ()
    """Hosts that images are fetched from."""
    speculation: bool = False
    """Whether the engine proposes tokens, which some sampling parameters exclude."""


def unread_refusal(body: bytes, limits: LimitSettings) -> Refusal | None:
    """Return the response to a body that would take too long to read."""
    brackets = body.count(b"[") + body.count(b"{")
    refused = _count("brackets", limits, "The request", brackets, "`[` and `{`")
    if refused is None and len(body) > limits.text_bytes:
        # Each string, key, member and fraction has such a byte, and the data of an image none.
        text = len(body.translate(None, _OF_IMAGES))
        refused = _text_refusal(text, limits)
    return refused


def refusal(document: dict[str, Any], size: int, bounds: Bounds) -> Refusal | None:
    """Return the response to a request that exceeds a limit, or None.

    Args:
        document: the request.
        size: bytes of its body.
        bounds: the limits.
    """
    return next(_refusals(document, size, bounds), None)


def _refusals(document: dict[str, Any], size: int, bounds: Bounds) -> Iterator[Refusal]:
    limits = bounds.limits
    for field in ("messages", "input"):
        if document.get(field) == []:
            yield empty(field)
    for field, limit, noun in _COUNTED:
        value = document.get(field)
        if isinstance(value, list):
            yield from _maybe(_count(limit, limits, field, len(value), noun))
    yield from _maybe(
        _count("content_parts", limits, "messages", _parts(document), "parts and tool calls")
    )
    yield from _numbers(document, limits)
    if bounds.speculation:
        yield from _unsupported(document)
    yield from _images(document, size, bounds)
    yield from _constraints(document, bounds)


def _parts(document: dict[str, Any]) -> int:
    lists = [
        message.get(field)
        for name in ("messages", "input")
        for message in _objects(document.get(name))
        for field in ("content", "tool_calls")
    ]
    return sum(len(one) for one in lists if isinstance(one, list))


def _numbers(document: dict[str, Any], limits: LimitSettings) -> Iterator[Refusal]:
    for field, (low, high) in _RANGES.items():
        value = number(document.get(field))
        if document.get(field) is not None and (value is None or not low <= value <= high):
            yield out_of_range(field, low, high)
    choices = 1.0
    for field in ("n", "best_of"):
        if document.get(field) is not None:
            value = number(document[field])
            choices = max(choices, float("inf") if value is None else value)
    yield from _maybe(_count("choices", limits, "n", choices, "responses"))
    prompts = _prompts(document.get("prompt"))
    yield from _maybe(_count("prompts", limits, "prompt", prompts, "prompts"))
    yield from _maybe(
        _count("generations", limits, "The request", prompts * choices, "prompts times n")
    )
    for field in _LOGPROBS:
        if document.get(field) is not None:
            value = number(document[field])
            count = float("inf") if value is None or value == _ALL else value
            yield from _maybe(_count("logprobs", limits, field, count, "log probabilities"))


def _unsupported(document: dict[str, Any]) -> Iterator[Refusal]:
    """Yield the refusals of parameters that vLLM's rejection sampler cannot apply."""
    if document.get("logit_bias"):
        yield without_speculation("logit_bias")
    if (number(document.get("min_p")) or 0) > _LEAST_MIN_P:
        yield without_speculation("min_p")


def _prompts(prompt: object) -> int:
    """Return the number of prompts: a list of numbers is one, in token ids."""
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int | float):
        return len(prompt)
    return 1


def _images(document: dict[str, Any], size: int, bounds: Bounds) -> Iterator[Refusal]:
    limits, images = bounds.limits, images_of(document)
    included = [image for image in images if is_data(image.url)]
    text = size - sum(len(image.url) for image in included)
    yield from _maybe(_text_refusal(text, limits))
    yield from _fetched(images, bounds)
    if len(included) > bounds.images:
        return  # the engine says so, before it decodes any
    total = 0
    for image in included:
        if not is_base64(image.url):
            yield not_base64(image.words, image.param)
        count = pixels(image.url)
        if count is None:
            yield unreadable_image(image.words, image.param)
            return
        total += count
        what = image.words.capitalize()
        yield from _maybe(_count("image_pixels", limits, what, count, "pixels"))
        yield from _maybe(
            _count("total_image_pixels", limits, "All images together", total, "pixels")
        )


def _fetched(images: list[Image], bounds: Bounds) -> Iterator[Refusal]:
    """Yield the refusals of images that the engine is not to fetch, whatever it says of them."""
    for image in images:
        remote = is_remote(image.url)
        if not is_data(image.url) and not (remote and bounds.media_domains):
            yield image_url_not_allowed(image.words, image.param, remote=remote)


def _constraints(document: dict[str, Any], bounds: Bounds) -> Iterator[Refusal]:
    limits = bounds.limits
    for choice in _choices(document):
        yield from _maybe(_count("guided_choices", limits, "choice", len(choice), "entries"))
    try:
        constraints = constraints_of(document, strict_tools=bounds.strict_tools)
    except NotJson as error:
        yield not_json(f"it constrains the response with a text of which {error}")
        return
    size = sum(map(size_of, constraints))
    what = "All schemas, grammars and strict tools together"
    yield from _maybe(_count("schema_bytes", limits, what, size, "bytes"))
    repetitions = sum(map(repetitions_of, constraints))
    what = "All schemas and grammars together"
    yield from _maybe(_count("repetitions", limits, what, repetitions, "repetitions"))
    length = max((excessive_length(one) for one in constraints), default=0)
    what = "minLength or maxLength of a schema"
    yield from _maybe(_count("string_length", limits, what, length, "characters"))


def _choices(document: dict[str, Any]) -> Iterator[list[Any]]:
    outputs = document.get("structured_outputs")
    inner = outputs.get("choice") if isinstance(outputs, dict) else None
    return (one for one in (inner, document.get("guided_choice")) if isinstance(one, list))


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text_refusal(size: int, limits: LimitSettings) -> Refusal | None:
    what = "The request without images"
    return _count("text_bytes", limits, what, size, "bytes", status=413)


def _count(
    limit: str, limits: LimitSettings, what: str, count: float, noun: str, *, status: int = 400
) -> Refusal | None:
    allowed = getattr(limits, limit)
    if count <= allowed:
        return None
    sentence = f"{what} has more than {allowed} {noun}"
    return limit_exceeded(limit, sentence, status=status)


def _maybe(one: Refusal | None) -> Iterator[Refusal]:
    if one is not None:
        yield one
