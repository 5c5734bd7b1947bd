"""How vLLM divides the memory of the GPUs, and whether it suffices.

The rule is that of vLLM: the usable memory of the GPU times the share, less weights, peak
activations, a constant and CUDA graphs. `cards` has the usable memory of GPUs, `gpu_memory` the
measured figures by version of vLLM. On one and two GPUs every measured KV cache is within 0.5 % of
the result; 4 and 8 GPUs are arithmetic.

With a KV cache of a fixed size vLLM ignores the share (`gpu_worker.py`,
`determine_available_memory`), except that the share must be free at startup (`request_memory`).
vLLM detects only at allocation whether the cache fits, so the sum of all parts is compared with the
memory that is free at startup.
"""

from dataclasses import dataclass
from enum import StrEnum

from mistral_operator.fit.cards import GIB, usable_memory
from mistral_operator.fit.gpu_memory import (
    SPECULATION_GIB,
    SPECULATION_GRAPHS_GIB,
    engine_overhead,
    free_memory,
)

TEXT_WEIGHTS_GIB = 43.94
"""bf16 weights of the language model, as vLLM loads them on one GPU."""
VISION_WEIGHTS_GIB = 0.82
"""bf16 weights of vision encoder and projector."""
REPLICATED_WEIGHTS_GIB = 0.18
"""Part of the weights that every rank holds: projector, patch embedding, rotary table. Solved for
the 22.47 GiB that each of two ranks loads of 44.76, in the log of vLLM 0.26 and from the size of
the KV cache of 0.32. All other weights are sharded, including the layers of the vision encoder."""
FP8_WEIGHTS_GIB = 23.64
"""Language model with 8-bit linear layers; embeddings stay bf16."""
INT4_WEIGHTS_GIB = 14.2
"""Language model with 4-bit linear layers (arithmetic, not measured)."""
KV_BYTES_PER_TOKEN = 163_840
"""2 (key and value) x 40 layers x 8 KV heads x 128 x 2 bytes; halved for an 8-bit cache."""
BLOCK_TOKENS = 16
"""vLLM allocates the KV cache in blocks of this many tokens."""
MIN_USEFUL_CONTEXT = 8192
"""A context shorter than this is not worth a GPU; `auto` must reach it to count as fitting."""


class Weights(StrEnum):
    """Format of the weights in memory."""

    BF16 = "bf16"
    FP32 = "fp32"
    FP8 = "fp8"
    INT4 = "int4"


_TEXT_GIB = {
    Weights.BF16: TEXT_WEIGHTS_GIB,
    Weights.FP32: 2 * TEXT_WEIGHTS_GIB,
    Weights.FP8: FP8_WEIGHTS_GIB,
    Weights.INT4: INT4_WEIGHTS_GIB,
}


@dataclass(frozen=True, slots=True)
class FitRequest:
    """A model configuration, and the GPUs that it should fit."""

    gpu_memory_bytes: int
    """Memory of one GPU as shown by nvidia-smi and the node label nvidia.com/gpu.memory."""
    tensor_parallel_size: int = 2
    weights: Weights = Weights.BF16
    kv_cache_8bit: bool = False
    gpu_memory_utilization: float = 0.90
    max_batched_tokens: int = 8192
    context_length: int | None = None
    """Tokens that one request may need; None is the maximum that fits."""
    images: bool = True
    kv_cache_memory_bytes: int | None = None
    """A fixed size of the KV cache on each GPU instead of the rest of the share."""
    cache_blocks: int | None = None
    """A fixed number of blocks instead of any size: `--num-gpu-blocks-override`."""
    block_tokens: int = BLOCK_TOKENS
    """Tokens of each block: `--block-size`."""
    eager: bool = False
    """Without CUDA graphs."""
    speculation: bool = False
    """With speculative decoding by n-grams."""
    engine_version: str | None = None
    """Version of vLLM; None is the pinned one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The result, in GiB per GPU unless noted otherwise."""

    fits: bool
    budget_gib: float
    """Memory for weights, activations, graphs and KV cache: the share, or all free memory if the KV
    cache has a fixed size."""
    free_gib: float
    """Memory that is free when the engine starts."""
    claimed_gib: float
    """Memory that must be free then: the share and, with a fixed KV cache, the sum of all parts."""
    weights_gib: float
    activations_gib: float
    """Peak activations, and the constant that vLLM takes in addition."""
    graphs_gib: float
    """CUDA graphs inside the budget."""
    kv_cache_gib: float
    """The rest of the budget, or the fixed size even if it does not fit."""
    kv_cache_tokens: int
    """Tokens of that KV cache in one replica, over all its GPUs."""
    longest_request: int
    """Tokens of it that one request can use."""
    needed_tokens: int
    """Tokens that one request may need."""
    advice: tuple[str, ...] = ()
    """Changes of fields, each of which would make the model fit. If no single change does, one item
    with several changes that do together."""

    @property
    def starts(self) -> bool:
        """Whether the claimed memory is free at startup."""
        return self.claimed_gib <= self.free_gib


def compute(request: FitRequest) -> Fit:
    """Return the result without advice."""
    overhead, ranks = engine_overhead(request.engine_version), request.tensor_parallel_size
    usable = usable_memory(request.gpu_memory_bytes)
    free = free_memory(usable.gib, ranks)
    budget = claimed = usable.gib * request.gpu_memory_utilization
    weights = _weights_gib(request)
    activations = overhead.eager(ranks, request.max_batched_tokens)
    graphs = 0.0 if request.eager else overhead.cuda_graphs(ranks)
    if request.speculation:
        activations += SPECULATION_GIB
        graphs += 0.0 if request.eager else SPECULATION_GRAPHS_GIB
    fixed = _fixed_gib(request)
    if fixed is None:
        kv_cache = max(0.0, budget - weights - activations - graphs)
    else:
        graphs += 0.0 if request.eager else overhead.graphs_beyond
        kv_cache = fixed
        budget, claimed = free, max(claimed, weights + activations + graphs + kv_cache)
    tokens = _tokens(request, kv_cache)
    longest = max(0, tokens - reserved_tokens(request))
    needed = request.context_length or MIN_USEFUL_CONTEXT
    return Fit(
        fits=longest >= needed and claimed <= free,
        budget_gib=budget,
        free_gib=free,
        claimed_gib=claimed,
        weights_gib=weights,
        activations_gib=activations,
        graphs_gib=graphs,
        kv_cache_gib=kv_cache,
        kv_cache_tokens=tokens,
        longest_request=longest,
        needed_tokens=needed,
    )


def _weights_gib(request: FitRequest) -> float:
    total = _TEXT_GIB[request.weights] + (VISION_WEIGHTS_GIB if request.images else 0.0)
    sharded = total - REPLICATED_WEIGHTS_GIB
    return REPLICATED_WEIGHTS_GIB + sharded / request.tensor_parallel_size


def bytes_per_token(request: FitRequest) -> float:
    """Return the memory of one token of KV cache on each GPU."""
    halves = 2 if request.kv_cache_8bit else 1
    return KV_BYTES_PER_TOKEN / halves / request.tensor_parallel_size


def reserved_tokens(request: FitRequest) -> int:
    """Return the tokens of the KV cache that no request can use."""
    return engine_overhead(request.engine_version).reserved_blocks * request.block_tokens


def _fixed_gib(request: FitRequest) -> float | None:
    """Return the size of a KV cache that does not depend on the share.

    A number of blocks overrides every size (`kv_cache_utils.py`, `get_kv_cache_configs`).
    """
    if request.cache_blocks is not None:
        return request.cache_blocks * request.block_tokens * bytes_per_token(request) / GIB
    memory = request.kv_cache_memory_bytes
    return None if memory is None else memory / GIB


def _tokens(request: FitRequest, kv_cache_gib: float) -> int:
    if request.cache_blocks is not None:
        return request.cache_blocks * request.block_tokens
    tokens = kv_cache_gib * GIB / bytes_per_token(request)
    return int(tokens // request.block_tokens) * request.block_tokens
