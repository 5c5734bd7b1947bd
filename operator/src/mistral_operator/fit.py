"""Does the model fit, and how many tokens of KV cache remain?

One pure function, behind the condition ModelFits and behind `mistral-operator fit`.

The rule is vLLM's own: memory of the GPU times its share, less weights, less the peak of
activations, less a constant. The numbers were measured with vLLM 0.26 and the full-size model on an
H100 80GB (torch sees 79.18 GiB of it) at tensor parallelism 1, where the result is exact to the
block for shares of 0.70, 0.90, 0.93 and 0.97. Sharding over several GPUs is arithmetic.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

GIB = 1024**3

TEXT_WEIGHTS_GIB = 43.94
"""bf16 weights of the language model; sharded over the ranks."""
VISION_WEIGHTS_GIB = 0.82
"""bf16 weights of vision encoder and projector; every rank holds them, vLLM does not shard them."""
FP8_WEIGHTS_GIB = 23.64
"""Language model with 8-bit linear layers; embeddings stay bf16."""
INT4_WEIGHTS_GIB = 14.2
"""Language model with 4-bit linear layers (arithmetic, not measured)."""
ACTIVATIONS_GIB_PER_1024_TOKENS = 1.69 / 8
"""Peak of activations for each 1024 batched tokens."""
CONSTANT_GIB = 0.224
"""What vLLM uses besides: CUDA context within the process, workspaces."""
KV_BYTES_PER_TOKEN = 163_840
"""2 (key and value) x 40 layers x 8 KV heads x 128 x 2 bytes; halved for an 8-bit cache."""
BLOCK_TOKENS = 16
"""vLLM hands out the KV cache in blocks of this many tokens."""
VISIBLE_SHARE = 79.18 * 1024 / 81559
"""Part of the memory that nvidia-smi and the node label show which a program can use (H100)."""
MIN_USEFUL_CONTEXT = 8192
"""A context shorter than this is not worth a GPU; `auto` must reach it to count as fitting."""


class Weights(StrEnum):
    """How the weights are held."""

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
    """What should fit on what."""

    gpu_memory_bytes: int
    """Memory of one GPU as nvidia-smi and the node label nvidia.com/gpu.memory show it."""
    tensor_parallel_size: int = 2
    weights: Weights = Weights.BF16
    kv_cache_8bit: bool = False
    gpu_memory_utilization: float = 0.90
    max_batched_tokens: int = 8192
    context_length: int | None = None
    """Tokens that one request may need; None asks for the most."""
    images: bool = True
    kv_cache_memory_bytes: int | None = None
    """A fixed size of the KV cache on each GPU instead of what remains."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer, in GiB for each GPU unless said."""

    fits: bool
    budget_gib: float
    weights_gib: float
    activations_gib: float
    kv_cache_gib: float
    kv_cache_tokens: int
    """Tokens of KV cache of one replica, over all its GPUs."""
    needed_tokens: int
    """Tokens that one request may need."""
    advice: tuple[str, ...] = ()
    """Single changes that would make it fit, as fields of the resource."""


def fit(request: FitRequest) -> Fit:
    """Say whether a model fits, what remains for the KV cache and, if not, what would help."""
    answer = _compute(request)
    if answer.fits:
        return answer
    return replace(answer, advice=_advice(request, answer))


def _compute(request: FitRequest) -> Fit:
    budget = request.gpu_memory_bytes * VISIBLE_SHARE * request.gpu_memory_utilization / GIB
    weights = _TEXT_GIB[request.weights] / request.tensor_parallel_size
    if request.images:
        weights += VISION_WEIGHTS_GIB
    activations = ACTIVATIONS_GIB_PER_1024_TOKENS * request.max_batched_tokens / 1024 + CONSTANT_GIB
    remaining = budget - weights - activations
    kv_cache = remaining
    if request.kv_cache_memory_bytes is not None:
        kv_cache = min(remaining, request.kv_cache_memory_bytes / GIB)
    tokens = _tokens(request, max(0.0, kv_cache))
    needed = request.context_length or MIN_USEFUL_CONTEXT
    return Fit(
        fits=tokens >= needed,
        budget_gib=budget,
        weights_gib=weights,
        activations_gib=activations,
        kv_cache_gib=max(0.0, kv_cache),
        kv_cache_tokens=tokens,
        needed_tokens=needed,
    )


def _tokens(request: FitRequest, kv_cache_gib: float) -> int:
    per_token = KV_BYTES_PER_TOKEN / (2 if request.kv_cache_8bit else 1)
    tokens = kv_cache_gib * GIB * request.tensor_parallel_size / per_token
    return int(tokens // BLOCK_TOKENS) * BLOCK_TOKENS


def _advice(request: FitRequest, answer: Fit) -> tuple[str, ...]:
    """Try each single change and name those that help, the cheapest for the user first."""
    advice = []
    if MIN_USEFUL_CONTEXT <= answer.kv_cache_tokens < answer.needed_tokens:
        advice.append(f"set spec.engine.contextLength to {answer.kv_cache_tokens} or less")
    for change, sentence in _changes(request):
        if _compute(change).fits:
            advice.append(sentence)
    return tuple(advice)


def _changes(request: FitRequest) -> list[tuple[FitRequest, str]]:
    changes = []
    if request.kv_cache_memory_bytes is not None:
        changes.append(
            (replace(request, kv_cache_memory_bytes=None), "remove spec.engine.kvCache.memory")
        )
    if not request.kv_cache_8bit:
        changes.append(
            (replace(request, kv_cache_8bit=True), "set spec.engine.kvCache.dtype to fp8")
        )
    larger = request.tensor_parallel_size * 2
    if larger <= 8:
        changes.append(
            (
                replace(request, tensor_parallel_size=larger),
                f"set spec.engine.tensorParallelSize to {larger}",
            )
        )
    if request.weights in {Weights.BF16, Weights.FP32}:
        changes.append(
            (replace(request, weights=Weights.FP8), "set spec.model.quantization to fp8")
        )
    return changes
