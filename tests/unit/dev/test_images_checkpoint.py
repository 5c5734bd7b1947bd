"""The tiny checkpoint of ``mistral_dev.images.checkpoint``, read by who reads the real one."""

import importlib.resources
import json
import math
from pathlib import Path
from typing import Any

import pytest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from mistral_dev.images import checkpoint

CONTROL_IDS = {
    "<s>": 1,
    "</s>": 2,
    "[INST]": 3,
    "[TOOL_CALLS]": 9,
    "[IMG]": 10,
    "[IMG_BREAK]": 12,
    "[IMG_END]": 13,
    "[SYSTEM_PROMPT]": 17,
    "[ARGS]": 32,
    "[CALL_ID]": 33,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    source = importlib.resources.files("mistral_common") / "data" / "tekken_240911.json"
    with importlib.resources.as_file(source) as path:
        checkpoint.write_checkpoint(out, path)
    return out


def header(weights: Path) -> dict[str, Any]:
    with weights.open("rb") as file:
        read: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return read


def test_it_has_the_files_of_mistrals_own_format(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "params.json",
        "tekken.json",
        "consolidated.safetensors",
        "SYSTEM_PROMPT.txt",
    }


@pytest.mark.parametrize(("token", "number"), CONTROL_IDS.items())
def test_control_tokens_have_the_ids_of_the_real_tokenizer(
    written: Path, token: str, number: int
) -> None:
    specials = json.loads((written / "tekken.json").read_text())["special_tokens"]
    assert specials[number] == {"rank": number, "token_str": token, "is_control": True}


def test_mistral_common_takes_the_tokenizer_for_one_of_version_11(written: Path) -> None:
    tokenizer = MistralTokenizer.from_file(str(written / "tekken.json"))
    assert tokenizer.instruct_tokenizer.tokenizer.version.value == "v11"
    request: ChatCompletionRequest[Any] = ChatCompletionRequest(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello, world"},
        ]
    )
    tokens = tokenizer.encode_chat_completion(request).tokens
    assert tokens[:2] == [CONTROL_IDS["<s>"], CONTROL_IDS["[SYSTEM_PROMPT]"]]
    assert max(tokens) < checkpoint.PARAMS["vocab_size"]
    assert "Hello, world" in tokenizer.decode(tokens)


def test_the_weights_lie_one_after_the_other_and_fill_the_file(written: Path) -> None:
    weights = written / "consolidated.safetensors"
    end = 0
    for entry in header(weights).values():
        begin, stop = entry["data_offsets"]
        assert begin == end
        assert stop - begin == 4 * math.prod(entry["shape"])
        end = stop
    length = int.from_bytes(weights.read_bytes()[:8], "little")
    assert weights.stat().st_size == 8 + length + end


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tok_embeddings.weight", [5000, 128]),
        ("layers.1.attention.wk.weight", [64, 128]),
        ("layers.1.feed_forward.w2.weight", [128, 256]),
        ("output.weight", [5000, 128]),
        ("vision_encoder.patch_conv.weight", [64, 3, 14, 14]),
        ("vision_encoder.transformer.layers.0.attention.wq.weight", [64, 64]),
        ("patch_merger.merging_layer.weight", [64, 256]),
        ("pre_mm_projector_norm.weight", [64]),
        ("vision_language_adapter.w_in.weight", [128, 64]),
    ],
)
def test_weights_are_named_and_shaped_as_in_the_real_checkpoint(
    written: Path, name: str, shape: list[int]
) -> None:
    assert header(written / "consolidated.safetensors")[name]["shape"] == shape


def test_it_is_the_same_every_time(written: Path, tmp_path: Path) -> None:
    source = importlib.resources.files("mistral_common") / "data" / "tekken_240911.json"
    with importlib.resources.as_file(source) as path:
        checkpoint.write_checkpoint(tmp_path, path)
    for file in written.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_two_ranks_can_share_every_head(written: Path) -> None:
    params = json.loads((written / "params.json").read_text())
    assert params["n_heads"] % 2 == 0
    assert params["vision_encoder"]["num_attention_heads"] % 2 == 0


def test_the_system_prompt_has_the_fields_of_the_real_one(written: Path) -> None:
    text = (written / "SYSTEM_PROMPT.txt").read_text()
    filled = text.format(name="Tiny", today="2025-06-20", yesterday="2025-06-19")
    assert "Tiny" in filled
    assert "2025-06-20" in filled
    assert "2025-06-19" in filled
