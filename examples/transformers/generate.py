"""Text, an image and a tool call with Transformers alone, without a server.

    python generate.py                                  # the real model: 48 GB, a GPU of 80 GB
    python generate.py --tiny-random --model DIRECTORY  # a CPU, seconds; DIRECTORY: tekken.json

Mistral's own tokenizer (mistral-common) makes the prompt, Transformers runs the model. An endpoint
does the same for many callers at once; this is for looking inside.
Needs: torch, transformers>=5, mistral-common>=1.11, pillow; for several GPUs accelerate, too.
"""

import argparse
import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny_random
import torch  # type: ignore[import-not-found]  # not in the development environment
from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk
from mistral_common.protocol.instruct.messages import (
    AssistantMessage,
    ChatMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall, Tool, ToolCall
from mistral_common.tokens.tokenizers.base import SpecialTokens
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from PIL import Image
from tool_calls import Call, MalformedCallError, parse
from transformers import (  # type: ignore[import-not-found]  # not in it either
    Mistral3ForConditionalGeneration,
)

MODEL = "mistralai/Mistral-Small-3.2-24B-Instruct-2506"

TEMPERATURE = 0.15
"""What the model card recommends."""

TODAY = Tool(
    function=Function(
        name="today",
        description="Return today's date.",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
    )
)


@dataclass(frozen=True)
class Answer:
    """What the model said to one prompt."""

    prompt_tokens: int
    image_tokens: int
    tokens: list[int]
    complete: bool


@dataclass(frozen=True)
class Chat:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: MistralTokenizer[Any, Any, Any, Any, Any]
    max_new_tokens: int

    @property
    def tekken(self) -> Tekkenizer:
        """The tokenizer beneath the chat format."""
        tekken = self.tokenizer.instruct_tokenizer.tokenizer
        if not isinstance(tekken, Tekkenizer):
            raise TypeError("this is for models with a tekken.json, as Mistral-Small-3.2 has one")
        return tekken

    def answer(self, messages: Sequence[ChatMessage], tools: list[Tool] | None = None) -> Answer:
        """Return the model's answer to a conversation."""
        request: ChatCompletionRequest[ChatMessage] = ChatCompletionRequest(
            messages=list(messages), tools=tools
        )
        prompt = self.tokenizer.encode_chat_completion(request)
        output = self.model.generate(
            **self.inputs(prompt.tokens, prompt.images),
            max_new_tokens=self.max_new_tokens,
            do_sample=True,
            temperature=TEMPERATURE,
            eos_token_id=self.tekken.eos_id,
            pad_token_id=self.tekken.pad_id,
        )
        # The output begins with the prompt; only what follows is the answer.
        new: list[int] = output[0, len(prompt.tokens) :].tolist()
        image = {SpecialTokens.img.value, "[IMG_BREAK]", "[IMG_END]"}
        image_ids = {self.tekken.get_special_token(name) for name in image}
        return Answer(
            prompt_tokens=len(prompt.tokens),
            image_tokens=sum(token in image_ids for token in prompt.tokens),
            tokens=new,
            complete=new[-1] == self.tekken.eos_id,
        )

    def inputs(self, tokens: list[int], images: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
        """Return the arguments of `generate` for one prompt."""
        device, dtype = self.model.device, self.model.dtype
        ids = torch.tensor([tokens], device=device)  # a batch of one
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if images:
            # One entry of the batch for each image, all as large as the largest: what is beyond
            # an image's own size, which the model has to be told, is cut off again inside.
            sizes = [image.shape[1:] for image in images]
            height, width = np.max(sizes, axis=0)
            padded = [
                np.pad(image, ((0, 0), (0, height - rows), (0, width - columns)))
                for image, (rows, columns) in zip(images, sizes, strict=True)
            ]
            pixels = torch.from_numpy(np.stack(padded))
            inputs["pixel_values"] = pixels.to(device=device, dtype=dtype)
            inputs["image_sizes"] = torch.tensor(sizes, device=device)
        return inputs


def load(arguments: argparse.Namespace) -> Chat:
    """Load the model and its tokenizer, from the hub or from a directory."""
    local = Path(arguments.model)
    if local.is_dir():
        tokenizer = MistralTokenizer.from_file(local / "tekken.json")
    else:
        tokenizer = MistralTokenizer.from_hf_hub(arguments.model)
    chat = Chat(None, tokenizer, arguments.max_new_tokens)
    with tempfile.TemporaryDirectory() as directory:
        source = arguments.model
        if arguments.tiny_random:
            tiny_random.write(Path(directory), chat.tekken.n_words)
            source = directory
        options = {"device_map": arguments.device_map} if arguments.device_map else {}
        model = Mistral3ForConditionalGeneration.from_pretrained(
            source, dtype=torch.bfloat16, **options
        )
    if not arguments.device_map:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Chat(model.eval(), tokenizer, arguments.max_new_tokens)


def red_square() -> Image.Image:
    """Return an image of 280 x 280 pixels: 10 x 10 tokens, and one more for each row."""
    return Image.new("RGB", (280, 280), (208, 32, 32))


def show(title: str, chat: Chat, answer: Answer) -> list[Call]:
    """Print an answer and return the calls in it; none where it was cut or is malformed."""
    print(
        f"{title}: {answer.prompt_tokens} tokens of prompt, {answer.image_tokens} of them image;"
        f" {len(answer.tokens)} of answer{'' if answer.complete else ', cut'}"
    )
    try:
        text, calls = parse(answer.tokens, chat.tekken)
    except MalformedCallError as error:
        print(f"  {error}")
        return []
    print(f"  {text!r} {calls or ''}")
    return calls if answer.complete else []  # a call that was cut can look like a whole one


def converse(chat: Chat) -> None:
    """Show a question, a question about an image, and a question that needs a tool."""
    question = UserMessage(content="Name three things that make a good bread.")
    show("text", chat, chat.answer([question]))

    parts = [TextChunk(text="Which color is this?"), ImageChunk(image=red_square())]
    show("image", chat, chat.answer([UserMessage(content=parts)]))

    messages: list[ChatMessage] = [UserMessage(content="Which day is today? Use the tool.")]
    calls = show("tool", chat, chat.answer(messages, [TODAY]))
    if calls:
        messages += results(calls)
        show("tool result", chat, chat.answer(messages, [TODAY]))


def results(calls: Sequence[Call]) -> list[ChatMessage]:
    """Run calls and return the messages that the next prompt needs: the calls and their results."""
    # An id has nine letters or digits, and the result names the call that it answers.
    made = [
        ToolCall(
            id=f"call{number:05}", function=FunctionCall(name=call.name, arguments=call.arguments)
        )
        for number, call in enumerate(calls)
    ]
    answers = [
        ToolMessage(content=run(call), tool_call_id=one.id)
        for call, one in zip(calls, made, strict=True)
    ]
    return [AssistantMessage(tool_calls=made), *answers]


def run(call: Call) -> str:
    """Run one call and return the text for the model."""
    if call.name != "today":
        return f"Error: there is no function {call.name!r}; the only one is today."
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL, help="id on the hub or directory")
    parser.add_argument(
        "--tiny-random",
        action="store_true",
        help="read only the tokenizer, and make a tiny model with random weights",
    )
    parser.add_argument("--max-new-tokens", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--device-map", help="auto: spread over all GPUs; needs accelerate")
    return parser


def main() -> None:
    """Run the program."""
    converse(load(argument_parser().parse_args()))


if __name__ == "__main__":
    main()
