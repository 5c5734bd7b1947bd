"""A tiny checkpoint of Mistral-Small-3.2's shape, for an engine without a GPU.

Called by ``server_image`` (which carries it as ``MODEL``) and by the tests
that start vLLM on the host. It has the files that Mistral's own format has: ``params.json``,
``tekken.json``, ``consolidated.safetensors`` and ``SYSTEM_PROMPT.txt``, so it loads by the same
flags as the real one: ``--config-format mistral --tokenizer-mode mistral --load-format mistral``.
The weights are random and its output is noise; everything else is real.

Same input, same bytes: the weights come from a fixed seed, the vocabulary from a pinned package.
"""

import array
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mistral_dev.images import cached, engine
from mistral_dev.paths import cache_dir
from mistral_dev.progress import Progress

SEED = 20250620
"""Of the weights; any number would do."""

WEIGHT_SCALE = 0.02
"""Standard deviation of the weights, the usual one at the start of a training run.

With it the logits spread by some 0.2, so that a request's ``logit_bias`` of 100 determines the
output: this is how tests make it call a tool or loop.
"""

MAX_POSITIONS = 4096
"""Tokens; the real model has 131,072."""

VOCABULARY = 4000
"""Text tokens, the first of the tokenizer that mistral-common ships; the real model has 130,072."""

CONTROL_TOKENS = 1000
"""Ids reserved for control tokens, as many as in the real model: vLLM does something for each of
them in every chat. Text token n has id n + 1000."""

_CONTROL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "[TOOL_CONTENT]",
)
"""The control tokens with ids 0 to 19 of every tekken tokenizer (mistral-common's own list)."""

_LATER_CONTROL = {32: "[ARGS]", 33: "[CALL_ID]"}
"""New in version 11, which writes a call as ``[TOOL_CALLS]name[ARGS]{...}``."""

_IMAGE = {"image_patch_size": 14, "max_image_size": 1540, "spatial_merge_size": 2}
"""As in the real tokenizer: an image of h x w pixels costs (h/28) x (w/28) tokens and a few."""

PARAMS: dict[str, Any] = {
    "dim": 128,
    "n_layers": 2,
    "head_dim": 64,
    "hidden_dim": 256,
    "n_heads": 2,  # two heads here and in the vision tower, so that two ranks can share them
    "n_kv_heads": 1,
    "rope_theta": 1e9,
    "norm_eps": 1e-5,
    "vocab_size": VOCABULARY + CONTROL_TOKENS,
    "max_position_embeddings": MAX_POSITIONS,
    "dtype": "float32",  # named, or vLLM opens the weights to find out
    "vision_encoder": {
        "hidden_size": 64,
        "num_channels": 3,
        "image_size": 1540,
        "max_image_size": 1540,
        "patch_size": 14,
        "rope_theta": 10000.0,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "adapter_bias": False,
        "mm_projector_id": "patch_merge",
        "spatial_merge_size": 2,
        "add_pre_mm_projector_layer_norm": True,
        "image_token_id": 10,
        "image_break_token_id": 12,
        "image_end_token_id": 13,
    },
}

SYSTEM_PROMPT = """\
You are {name}, a very small model that was never trained. Your answers are noise, made to exercise
the machinery around a model.
Today is {today}, and yesterday was {yesterday}.
"""
"""Our own words. The real checkpoint's file of this name has the same three fields."""


@dataclass(frozen=True)
class Tensor:
    """Name and shape of one weight; ``norm`` weights are ones, all others random."""

    name: str
    shape: tuple[int, ...]

    @property
    def norm(self) -> bool:
        """Whether this is the weight of a normalization layer."""
        return len(self.shape) == 1


def checkpoint(progress: Progress | None = None) -> Path:
    """Return the directory of the checkpoint, making it if this is the first use."""
    packages = engine.site_packages(engine.engine(progress))
    source = packages / "mistral_common" / "data" / "tekken_240911.json"
    key = cached.key_of([Path(__file__), source])
    return cached.directory(
        cache_dir() / f"checkpoint-{key}", lambda out: write_checkpoint(out, source)
    )


def write_checkpoint(out: Path, tokenizer_source: Path) -> None:
    """Write the four files into the directory ``out``.

    Args:
        out: an existing directory.
        tokenizer_source: a ``tekken_240911.json`` as mistral-common ships it.
    """
    (out / "params.json").write_text(json.dumps(PARAMS, indent=2) + "\n")
    source = json.loads(tokenizer_source.read_text())
    (out / "tekken.json").write_text(json.dumps(tokenizer(source)))
    (out / "SYSTEM_PROMPT.txt").write_text(SYSTEM_PROMPT)
    _write_weights(out / "consolidated.safetensors")


def tokenizer(source: Mapping[str, Any]) -> dict[str, Any]:
    """Derive a small tokenizer of version 11 from a shipped one of version 3.

    mistral-common ships no tekken tokenizer of a version that Mistral-Small-3.2 uses, but only the
    control tokens and the image settings differ, and a shorter vocabulary is still a valid one:
    each token is merged from tokens of lower rank.
    """
    names = [*_CONTROL, *(f"<SPECIAL_{rank}>" for rank in range(len(_CONTROL), 34))]
    for rank, name in _LATER_CONTROL.items():
        names[rank] = name
    return {
        "config": {
            **source["config"],
            "num_vocab_tokens": VOCABULARY,
            "default_vocab_size": VOCABULARY + CONTROL_TOKENS,
            "default_num_special_tokens": CONTROL_TOKENS,
            "version": "v11",
        },
        "vocab": source["vocab"][:VOCABULARY],
        "image": _IMAGE,
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(names)
        ],
    }


def tensors(params: Mapping[str, Any]) -> Iterator[Tensor]:
    """Yield the weights in Mistral's own naming, as vLLM's Pixtral loader expects them."""
    dim, vocabulary = params["dim"], params["vocab_size"]
    heads, kv_heads = (params[name] * params["head_dim"] for name in ("n_heads", "n_kv_heads"))
    yield Tensor("tok_embeddings.weight", (vocabulary, dim))
    for layer in range(params["n_layers"]):
        yield from _block(f"layers.{layer}", (dim, params["hidden_dim"]), (heads, kv_heads))
    yield Tensor("norm.weight", (dim,))
    yield Tensor("output.weight", (vocabulary, dim))

    vision = params["vision_encoder"]
    width, patch = vision["hidden_size"], vision["patch_size"]
    yield Tensor("vision_encoder.patch_conv.weight", (width, vision["num_channels"], patch, patch))
    yield Tensor("vision_encoder.ln_pre.weight", (width,))
    for layer in range(vision["num_hidden_layers"]):
        prefix = f"vision_encoder.transformer.layers.{layer}"
        yield from _block(prefix, (width, vision["intermediate_size"]), (width, width))
    yield Tensor("pre_mm_projector_norm.weight", (width,))
    yield Tensor(
        "patch_merger.merging_layer.weight", (width, width * vision["spatial_merge_size"] ** 2)
    )
    yield Tensor("vision_language_adapter.w_in.weight", (dim, width))
    yield Tensor("vision_language_adapter.w_out.weight", (dim, dim))


def _block(prefix: str, widths: tuple[int, int], heads: tuple[int, int]) -> Iterator[Tensor]:
    """Yield one transformer block: (model, feed-forward) widths, (query, key/value) widths."""
    dim, hidden = widths
    queries, keys = heads
    yield Tensor(f"{prefix}.attention.wq.weight", (queries, dim))
    yield Tensor(f"{prefix}.attention.wk.weight", (keys, dim))
    yield Tensor(f"{prefix}.attention.wv.weight", (keys, dim))
    yield Tensor(f"{prefix}.attention.wo.weight", (dim, queries))
    yield Tensor(f"{prefix}.attention_norm.weight", (dim,))
    yield Tensor(f"{prefix}.feed_forward.w1.weight", (hidden, dim))
    yield Tensor(f"{prefix}.feed_forward.w2.weight", (dim, hidden))
    yield Tensor(f"{prefix}.feed_forward.w3.weight", (hidden, dim))
    yield Tensor(f"{prefix}.ffn_norm.weight", (dim,))


def header(params: Mapping[str, Any], dtype: str, width: int) -> bytes:
    """Return the start of a safetensors file: the length of the header, and it as JSON.

    Args:
        params: the model's shape.
        dtype: of all values, as safetensors calls it.
        width: bytes of one value.
    """
    entries: dict[str, Any] = {}
    end = 0
    for tensor in tensors(params):
        begin, end = end, end + width * math.prod(tensor.shape)
        entries[tensor.name] = {
            "dtype": dtype,
            "shape": tensor.shape,
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(entries).encode()
    encoded += b" " * (-len(encoded) % 8)  # the values start aligned
    return len(encoded).to_bytes(8, "little") + encoded


def _write_weights(out: Path) -> None:
    """Write a safetensors file: the header, then the raw values."""
    values = random.Random(SEED)  # noqa: S311 - noise, not a secret
    with out.open("wb") as file:
        file.write(header(PARAMS, "F32", 4))
        for tensor in tensors(PARAMS):
            file.write(_values(tensor, values))


def _values(tensor: Tensor, source: random.Random) -> bytes:
    count = math.prod(tensor.shape)
    if tensor.norm:
        numbers = array.array("f", [1.0] * count)
    else:
        # Uniform with the required deviation. `random()` is the one method whose sequence Python
        # promises to keep, so that the file is the same everywhere.
        width = WEIGHT_SCALE * math.sqrt(12)
        numbers = array.array("f", ((source.random() - 0.5) * width for _ in range(count)))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
