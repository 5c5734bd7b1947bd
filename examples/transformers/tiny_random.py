"""A checkpoint of the model's shape and a few megabytes, with random weights: `--tiny-random`.

It makes it possible to run `generate.py` in seconds on any CPU. The answers are noise; everything
else is as with the real model.
"""

from pathlib import Path

import torch  # type: ignore[import-not-found]  # not in the development environment
from transformers import (  # type: ignore[import-not-found]  # not in it either
    Mistral3Config,
    Mistral3ForConditionalGeneration,
)

SEED = 20250620
"""Of the weights; any number would do."""


def write(directory: Path, vocabulary: int) -> None:
    """Write config.json and model.safetensors for a vocabulary of this many tokens."""
    torch.manual_seed(SEED)
    config = Mistral3Config(
        text_config={
            "model_type": "mistral",
            "vocab_size": vocabulary,
            "hidden_size": 128,  # 5120 in the real model
            "intermediate_size": 256,  # 32,768
            "num_hidden_layers": 2,  # 40
            "num_attention_heads": 4,  # 32
            "num_key_value_heads": 2,  # 8
            "head_dim": 32,  # 128
            "max_position_embeddings": 4096,  # 131,072
            "sliding_window": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e9},
            "tie_word_embeddings": False,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 64,  # 1024
            "intermediate_size": 128,  # 4096
            "num_hidden_layers": 1,  # 24
            "num_attention_heads": 2,  # 16
            "image_size": 1540,  # this and the patches decide how many tokens an image has
            "patch_size": 14,
        },
        spatial_merge_size=2,
        image_token_index=10,
        tie_word_embeddings=False,
    )
    Mistral3ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(directory)
