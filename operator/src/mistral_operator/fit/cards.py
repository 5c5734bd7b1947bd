"""The GPUs that `mistral-operator fit` knows by name, and the usable memory of any GPU.

Sources of the table; a card without one is left out:

- Compute capability: NVIDIA's list, https://developer.nvidia.com/cuda-gpus.
- Memory as nvidia-smi shows it, with ECC where that is the default. T4, A10, L4, A100, L40S, H100
  and H200: https://thundergolfer.com/blog/nvidia-gpu-memory-capacity, the machines of Modal. H100
  and H200 also measured (docs/gpu.md). The others from users' reports: A30 in NVIDIA/dcgm-exporter,
  issue 114; RTX 4090 in RLinf/RLinf, issue 255; B200 in NVIDIA/TensorRT-LLM, issue 10278.
- Usable memory: measured with torch on H100 and H200.
"""

import difflib
import re
from dataclasses import dataclass

GIB = 1024**3

_MIB_PER_GIB = 1024


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU by name."""

    name: str
    memory_mib: int
    """Memory as shown by nvidia-smi and the node label nvidia.com/gpu.memory."""
    compute_capability: tuple[int, int]
    """Major and minor compute capability."""
    usable_gib: float | None = None
    """Memory as reported by torch; vLLM takes its share of this. None: not measured."""

    @property
    def compute_major(self) -> int:
        """Major compute capability."""
        return self.compute_capability[0]


CARDS = (
    Card("t4", 15_360, (7, 5)),
    Card("a10", 23_028, (8, 6)),
    Card("l4", 23_034, (8, 9)),
    Card("rtx-4090", 24_564, (8, 9)),
    Card("a30", 24_576, (8, 0)),
    Card("a100-40gb", 40_960, (8, 0)),
    Card("l40s", 46_068, (8, 9)),
    # 99.413 % and, on the H200, 99.572 % of the shown memory.
    Card("h100", 81_559, (9, 0), 79.18),
    Card("a100-80gb", 81_920, (8, 0)),
    Card("h200", 143_771, (9, 0), 139.801),
    Card("b200", 183_359, (10, 0)),
)
"""By ascending memory."""

UNMEASURED_SHARE = 0.975
"""Usable share of a GPU that was not measured. Slightly below the lowest value in users' error
messages of torch: 21.96 GiB on a GPU of 24 GB, 97.6 % of the 23,034 MiB of that user's L4
(rhymes-ai/Aria, issue 24). Others: 98.0 % on A30 (23.53 of 24 GiB), 98.6 % on RTX 4090,
98.7 % on L40, 99.1 % on A100 80GB."""


@dataclass(frozen=True, slots=True)
class UsableMemory:
    """Memory of one GPU that a program can use."""

    gib: float
    source: str
    """Source of the figure, as text for users."""


def usable_memory(shown_bytes: int) -> UsableMemory:
    """Return the usable memory of a GPU, from the memory that nvidia-smi shows.

    The size identifies the card: only the size is available from the node label, the resource and
    the command line, and a MIG slice has the product name of the card but not its size. A GPU has
    at least as much usable memory as any measured card that is not larger, so more shown memory
    never means less usable memory.
    """
    shown_gib = shown_bytes / GIB
    usable = UsableMemory(
        shown_gib * UNMEASURED_SHARE,
        f"{UNMEASURED_SHARE:.1%} is assumed; this GPU was not measured",
    )
    for card in CARDS:
        measured = card.usable_gib
        if measured is None or measured < usable.gib:
            continue
        if shown_gib * _MIB_PER_GIB >= card.memory_mib:
            same = round(shown_gib * _MIB_PER_GIB) == card.memory_mib
            name = card.name.upper()
            source = (
                f"as measured on an {name}"
                if same
                else f"that of an {name} is assumed; this GPU was not measured"
            )
            usable = UsableMemory(measured, source)
    return usable


def card_named(name: str) -> Card:
    """Return a card by its name, in any case and with any separators.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    by_name = {_bare(one.name): one for one in CARDS}
    bare = _bare(name)
    if bare in by_name:
        return by_name[bare]
    longer = [one.name for key, one in by_name.items() if bare and key.startswith(bare)]
    meant = longer or [
        by_name[key].name for key in difflib.get_close_matches(bare, by_name, n=2, cutoff=0.7)
    ]
    names = ", ".join(one.name for one in CARDS)
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    raise ValueError(f"{hint}the names are {names}; for another one, use --gpu-memory")


def _bare(name: str) -> str:
    text = re.sub("[^a-z0-9]", "", name.lower().removeprefix("nvidia"))
    return text.removesuffix("80gb") if text.startswith("h100") else text
