"""The Transformers example, run by the engine's interpreter on a tiny model with random weights."""

import json
import re
import subprocess
from math import ceil
from typing import Any

import pytest

from golden_cases import EXAMPLES
from mistral_dev.images import checkpoint, engine

DIRECTORY = EXAMPLES / "transformers"

SECONDS = 180
"""Ten times what importing Transformers and running a tiny model take on an idle machine."""

NEW_TOKENS = 12

SHOWN = re.compile(
    r"^(?P<title>.+): (?P<prompt>\d+) tokens of prompt, (?P<image>\d+) of them image;"
    r" (?P<new>\d+) of answer",
    re.MULTILINE,
)


def run(*arguments: str) -> str:
    """Run the engine's interpreter in the example's directory; return its standard output."""
    done = subprocess.run(
        [engine.engine() / "bin" / "python", *arguments],
        env=engine.environment(),
        cwd=DIRECTORY,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def image_tokens(width: int, height: int) -> int:
    """Return what an image of at most 1540 pixels a side costs: squares of 28, and row ends."""
    columns, rows = ceil(width / 28), ceil(height / 28)
    return rows * columns + rows


@pytest.fixture(scope="module")
def shown() -> dict[str, dict[str, int]]:
    """Return the numbers that the program prints, by title."""
    output = run(
        "generate.py",
        "--tiny-random",
        *("--model", str(checkpoint.checkpoint())),
        *("--max-new-tokens", str(NEW_TOKENS)),
    )
    return {
        result["title"]: {key: int(result[key]) for key in ("prompt", "image", "new")}
        for result in SHOWN.finditer(output)
    }


def test_the_program_shows_text_an_image_and_a_tool(shown: dict[str, dict[str, int]]) -> None:
    assert list(shown)[:3] == ["text", "image", "tool"]


def test_an_image_costs_the_tokens_that_it_costs_in_an_endpoint(
    shown: dict[str, dict[str, int]],
) -> None:
    assert shown["image"]["image"] == image_tokens(280, 280) == 110
    assert shown["text"]["image"] == 0


def test_only_new_tokens_are_the_answer(shown: dict[str, dict[str, int]]) -> None:
    assert {one["new"] for one in shown.values()} <= set(range(1, NEW_TOKENS + 1))
    assert all(one["prompt"] > 1 for one in shown.values())


INSIDE = """
import json, sys, torch, generate
from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk
from mistral_common.protocol.instruct.messages import UserMessage
from PIL import Image

arguments = generate.argument_parser().parse_args(sys.argv[1:])
chat = generate.load(arguments)
tekken = chat.tekken
"""
"""What the tests below run with the engine's interpreter, each with a few lines of its own."""


def inside(lines: str) -> Any:
    """Run lines after `INSIDE` and return the JSON document that they print last."""
    model = ("--tiny-random", "--model", str(checkpoint.checkpoint()), "--max-new-tokens", "4")
    return json.loads(run("-c", INSIDE + lines, *model).splitlines()[-1])


def test_images_of_different_sizes_share_a_prompt_and_each_counts() -> None:
    sizes = [(280, 280), (28, 28), (560, 300)]

    result = inside(f"""
images = [ImageChunk(image=Image.new("RGB", size)) for size in {sizes}]
answer = chat.answer([UserMessage(content=[TextChunk(text="Which?"), *images])])
print(json.dumps([answer.image_tokens, len(answer.tokens)]))
""")

    assert result[0] == sum(image_tokens(*size) for size in sizes)
    assert 1 <= result[1] <= 4


def test_an_image_beside_a_larger_one_looks_to_the_model_as_it_does_alone() -> None:
    # The padding around the small one must not reach the features.
    result = inside("""
def features(*sizes):
    images = [ImageChunk(image=Image.new("RGB", size, (200, 30, 30))) for size in sizes]
    content = [TextChunk(text="?"), *images]
    request = generate.ChatCompletionRequest(messages=[UserMessage(content=content)])
    prompt = chat.tokenizer.encode_chat_completion(request)
    inputs = chat.inputs(prompt.tokens, prompt.images)
    with torch.no_grad():
        out = chat.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
    return out.pooler_output

alone, (beside, _) = features((84, 56))[0], features((84, 56), (280, 280))
print(json.dumps([list(alone.shape), (alone - beside).abs().max().item()]))
""")

    (tokens, _), difference = result
    assert tokens == 3 * 2
    assert difference < 0.02, "bfloat16 rounds"


def test_a_call_is_run_and_its_result_is_in_the_next_prompt() -> None:
    # A model with a fixed output: the test is about the loop around it.
    result = inside("""
class Scripted:
    device, dtype = torch.device("cpu"), torch.bfloat16
    def __init__(self):
        call = [tekken.get_special_token("[TOOL_CALLS]"), *tekken.encode("today", False, False)]
        call += [tekken.get_special_token("[ARGS]"), *tekken.encode("{}", False, False)]
        text = tekken.encode("Monday.", False, False)
        self.script = [text, text, call, text]
        self.prompts = []
    def generate(self, input_ids, **_):
        self.prompts.append(input_ids[0].tolist())
        new = torch.tensor([[*self.script.pop(0), tekken.eos_id]])
        return torch.cat([input_ids, new], dim=1)

model = Scripted()
today = lambda: generate.run(generate.Call("today", {}))
before = today()
generate.converse(generate.Chat(model, chat.tokenizer, 4))
print(json.dumps([[before, today()], tekken.decode(model.prompts[-1])]))
""")

    days, prompt = result  # two, if the test ran at midnight
    assert any(prompt.endswith(f"todaycall00000{{}}call00000{day}") for day in days), prompt
