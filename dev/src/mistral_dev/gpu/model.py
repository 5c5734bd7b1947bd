"""A directory with the full-size model's configuration and tokenizer, and without weights.

The engine makes random weights of the shape (``random_weights`` of the contract), which take the
same memory and time as real ones. Runs where mistral-common is installed: the vocabulary comes from
the package.
"""

import json
from pathlib import Path
from typing import Any

PARAMS: dict[str, Any] = {
    "dim": 5120,
    "n_layers": 40,
    "head_dim": 128,
    "hidden_dim": 32768,
    "n_heads": 32,
    "n_kv_heads": 8,
    "rope_theta": 1e9,
    "norm_eps": 1e-5,
    "vocab_size": 131_072,
    "max_position_embeddings": 131_072,
    "dtype": "bfloat16",
    "vision_encoder": {
        "hidden_size": 1024,
        "num_channels": 3,
        "image_size": 1540,
        "max_image_size": 1540,
        "patch_size": 14,
        "rope_theta": 10000.0,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "adapter_bias": False,
        "mm_projector_id": "patch_merge",
        "spatial_merge_size": 2,
        "add_pre_mm_projector_layer_norm": True,
        "image_token_id": 10,
        "image_break_token_id": 12,
        "image_end_token_id": 13,
    },
}
"""Of Mistral-Small-3.2-24B: 24.01 billion parameters, 44.76 GiB in bf16 as vLLM loads them."""

CONTROL_TOKENS = 1000
"""Ids of control tokens; text token n has id n + 1000."""

_CONTROL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[TOOL_CONTENT]", *(f"<SPECIAL_{rank}>" for rank in range(20, 32)), "[ARGS]", "[CALL_ID]"),
)


def write_model(directory: Path, tokenizer_source: Path | None = None) -> Path:
    """Write the files, unless they are there, and return the directory.

    Args:
        directory: where to.
        tokenizer_source: a ``tekken_240911.json``; the one of the installed mistral-common when
            left out.
    """
    if (directory / "tekken.json").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    source = tokenizer_source or _installed_tokenizer()
    (directory / "params.json").write_text(json.dumps(PARAMS))
    (directory / "tekken.json").write_text(json.dumps(tokenizer(json.loads(source.read_text()))))
    return directory


def tokenizer(source: dict[str, Any]) -> dict[str, Any]:
    """Turn a tokenizer of version 3 into one of version 11: other control tokens, and images."""
    special = [
        {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(_CONTROL)
    ]
    return {
        **source,
        "config": {**source["config"], "version": "v11"},
        "image": {"image_patch_size": 14, "max_image_size": 1540, "spatial_merge_size": 2},
        "special_tokens": special,
    }


def _installed_tokenizer() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("mistral_common")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("mistral-common is not installed beside this interpreter.")
    return Path(spec.origin).parent / "data" / "tekken_240911.json"
