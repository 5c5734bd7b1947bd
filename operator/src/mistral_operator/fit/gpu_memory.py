"""The memory that vLLM takes beside weights and KV cache.

The measured figures behind `fit`, one row per version of vLLM. They come from the full-size model
with random weights on one and two GPUs (docs/gpu.md), without flashinfer. `cards` has the memory of
the GPUs themselves.
"""

import re
from dataclasses import dataclass

from mistral_operator.fit.cards import GIB

_FREE_BELOW_USABLE_GIB = 0.52
_FREE_BELOW_USABLE_WITH_RANKS_GIB = 1.43


def free_memory(usable_gib: float, ranks: int) -> float:
    """Return the free part of a GPU's usable memory when vLLM starts, in GiB.

    The CUDA context and, with several ranks, the buffers of NCCL are allocated before vLLM measures
    the free memory. An otherwise empty H100 80GB has 78.66 and 77.75 of 79.18 GiB free in the logs
    of vLLM 0.26. More than two ranks count as two.
    """
    taken = _FREE_BELOW_USABLE_GIB if ranks == 1 else _FREE_BELOW_USABLE_WITH_RANKS_GIB
    return max(0.0, usable_gib - taken)


Version = tuple[int, int]

_SHARDED_GIB_PER_1024_TOKENS = 3 * 32_768 * 2 * 1024 / GIB
"""0.1875: gate, up and their product in the widest layer, 32,768 values of 2 bytes each per token.
The ranks split them; the rest of the activations is on every rank. With this split, vLLM 0.26
should have 0.94 GiB of activations on two ranks at 8,192 tokens; its log reports 0.94."""

_MIN_TOKENS = 8192
_MAX_RANKS = 2
"""Fewer tokens per step and more ranks were not measured."""


SPECULATION_GIB = 0.56
"""What n-grams take on one GPU, measured with vLLM 0.32 on an H200 with four tokens: 510,160 tokens
of KV cache instead of 513,856. When vLLM profiles, it verifies one proposed token of every request,
so the number of tokens does not matter. Every rank has the logits of the whole vocabulary."""
SPECULATION_GRAPHS_GIB = 0.02
"""The same within CUDA graphs: 502,880 tokens instead of 506,672 are 0.58 GiB less."""


@dataclass(frozen=True, slots=True)
class EngineOverhead:
    """Memory that one version of vLLM takes on each GPU beside weights and KV cache, in GiB.

    Measured on one and two ranks with ten images per prompt. Without images it may be less, since
    vLLM 0.32 profiles the vision encoder; that was not measured, so nothing is deducted.
    """

    version: Version
    """Major and minor version of vLLM."""
    per_1024_tokens: float
    """Activations on one GPU for each 1,024 batched tokens."""
    constant: float
    """The rest on one GPU: CUDA context within the process, workspaces, vision encoder."""
    constant_with_ranks: float
    """The same on each of several GPUs."""
    graphs: float
    """CUDA graphs on one GPU, the part within the share of memory."""
    graphs_with_ranks: float
    """The same on each of several GPUs."""
    reserved_blocks: int = 0
    """Blocks of the KV cache that no request can use. vLLM 0.32 subtracts its null block before it
    compares the cache with the context: it suggests 53,072 tokens for a cache of 53,088."""
    graphs_beyond: float = 0.0
    """CUDA graphs beyond the share of memory. A KV cache of a fixed size must leave room for them,
    too."""

    def per_1024_tokens_on(self, ranks: int) -> float:
        """Return the activations of one GPU for each 1,024 batched tokens."""
        replicated = self.per_1024_tokens - _SHARDED_GIB_PER_1024_TOKENS
        return replicated + _SHARDED_GIB_PER_1024_TOKENS / ranks

    def eager(self, ranks: int, batched_tokens: int) -> float:
        """Return activations and constant of one GPU, without CUDA graphs.

        4 and 8 ranks, and other numbers of tokens than 8,192 and 16,384, are computed and not
        measured. The result is never below the smallest measured activations: below them the peak
        may be something that neither ranks nor tokens reduce, such as the sampler's logits.
        """
        activations = max(
            self.per_1024_tokens_on(ranks) * batched_tokens / 1024,
            self.per_1024_tokens_on(_MAX_RANKS) * _MIN_TOKENS / 1024,
        )
        return activations + (self.constant if ranks == 1 else self.constant_with_ranks)

    def cuda_graphs(self, ranks: int) -> float:
        """Return the CUDA graphs of one GPU; more than two ranks count as two."""
        return self.graphs if ranks == 1 else self.graphs_with_ranks


ENGINES = (
    # H100 80GB. 1.69 GiB of activations at 8,192 tokens on one GPU, 0.94 on two; logs of vLLM.
    # Graphs take 1.2 GiB, but beyond the share: the KV cache shrinks by 0.06 GiB (161,136 to
    # 160,720 tokens) on one GPU, and by 0.03 (626,368 to 625,968) on two.
    EngineOverhead((0, 26), 1.69 / 8, 0.224, 0.06, 0.06, 0.03, graphs_beyond=1.2),
    # H200. Beside weights and KV cache 2.65 GiB at 8,192 tokens and 4.44 at 16,384 on one GPU
    # eager, 3.75 with graphs; 1.74 eager and 2.61 with graphs on two. Of the 1.74, 1.04 are
    # activations as computed above, and 0.70 remain as the constant: 0.16 less than on one GPU,
    # which is also the difference in vLLM 0.26.
    EngineOverhead((0, 32), 0.2238, 0.86, 0.70, 1.10, 0.87, reserved_blocks=1),
)
"""The measured versions, ascending. The last one is pinned."""


def engine_overhead(version: str | None) -> EngineOverhead:
    """Return the row of a version of vLLM: its own, or else that of the next lower one.

    An unknown version gets the row of the pinned one, a version older than all the oldest row.
    """
    number = parse_version(version or "")
    if number is None:
        return ENGINES[-1]
    return next((row for row in reversed(ENGINES) if row.version <= number), ENGINES[0])


def parse_version(text: str) -> Version | None:
    """Return major and minor version: 0.32, 0.32.0+cu130 and v0.32.1rc1 are (0, 32)."""
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})(?!\d)", text)
    return (int(match[1]), int(match[2])) if match else None
