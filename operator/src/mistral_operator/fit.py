"""Does the model fit, and how many tokens of KV cache remain?

One pure function, behind the condition ModelFits and behind `mistral-operator fit`.

The rule is vLLM's own: the memory of the GPU that a program can use times the share, less weights,
less the peak of activations, less a constant, less CUDA graphs. `gpu_memory` has the measured
figures by card and by version of vLLM. On one and two GPUs every measured KV cache is within 0.5 %
of the result; 4 and 8 GPUs are arithmetic.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from mistral_operator.gpu_memory import GIB, engine_overhead, usable_memory

TEXT_WEIGHTS_GIB = 43.94
"""bf16 weights of the language model, as vLLM loads them on one GPU."""
VISION_WEIGHTS_GIB = 0.82
"""bf16 weights of vision encoder and projector."""
REPLICATED_WEIGHTS_GIB = 0.18
"""Part of the weights that every rank holds: projector, patch embedding, rotary table. Solved for
the 22.47 GiB that each of two ranks loads of 44.76, in the log of vLLM 0.26 and in what the KV
cache of 0.32 leaves. All else is sharded, also the layers of the vision encoder."""
FP8_WEIGHTS_GIB = 23.64
"""Language model with 8-bit linear layers; embeddings stay bf16."""
INT4_WEIGHTS_GIB = 14.2
"""Language model with 4-bit linear layers (arithmetic, not measured)."""
KV_BYTES_PER_TOKEN = 163_840
"""2 (key and value) x 40 layers x 8 KV heads x 128 x 2 bytes; halved for an 8-bit cache."""
BLOCK_TOKENS = 16
"""vLLM hands out the KV cache in blocks of this many tokens."""
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
    eager: bool = False
    """Without CUDA graphs."""
    engine_version: str | None = None
    """Version of vLLM; None is the pinned one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer, in GiB for each GPU unless said."""

    fits: bool
    budget_gib: float
    weights_gib: float
    activations_gib: float
    """Peak of activations, and the constant that vLLM takes besides."""
    graphs_gib: float
    """CUDA graphs inside the budget."""
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
    overhead, ranks = engine_overhead(request.engine_version), request.tensor_parallel_size
    usable = usable_memory(request.gpu_memory_bytes)
    budget = usable.gib * request.gpu_memory_utilization
    weights = _weights_gib(request)
    activations = overhead.eager(ranks, request.max_batched_tokens)
    graphs = 0.0 if request.eager else overhead.cuda_graphs(ranks)
    remaining = budget - weights - activations - graphs
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
        graphs_gib=graphs,
        kv_cache_gib=max(0.0, kv_cache),
        kv_cache_tokens=tokens,
        needed_tokens=needed,
    )


def _weights_gib(request: FitRequest) -> float:
    total = _TEXT_GIB[request.weights] + (VISION_WEIGHTS_GIB if request.images else 0.0)
    sharded = total - REPLICATED_WEIGHTS_GIB
    return REPLICATED_WEIGHTS_GIB + sharded / request.tensor_parallel_size


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
