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
    """Return a card by its name, in any case, with any separators, or as nodes are labeled with it.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    by_name = {_bare(one.name): one for one in CARDS}
    bare = _bare(name)
    card = by_name.get(bare) or _of_size(bare)
    if card is not None:
        return card
    longer = [one.name for key, one in by_name.items() if bare and key.startswith(bare)]
    # V100 and H100 are similar names, and no similar cards.
    alike = [key for key, one in by_name.items() if bare.startswith(_family(one))]
    meant = longer or [
        by_name[key].name for key in difflib.get_close_matches(bare, alike, n=2, cutoff=0.7)
    ]
    names = ", ".join(one.name for one in CARDS)
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    raise ValueError(f"{hint}the names are {names}; for another one, use --gpu-memory")


_FORM = re.compile(r"nvidia|tesla|geforce|sxm\d?|pcie|hbm\d[a-z]?")
"""Parts of the label nvidia.com/gpu.product, such as NVIDIA-A100-SXM4-80GB, that name no card."""
_ROUNDED = 0.08
"""Maximum difference of a size in the name of a card from its memory: an L4 "of 24 GB" shows
22.5 GiB."""


def _bare(name: str) -> str:
    parts = re.split("[^a-z0-9]+", name.lower())
    bare = (re.sub(r"(sxm\d?|pcie)$", "", one) for one in parts if not _FORM.fullmatch(one))
    return "".join(bare).removeprefix("nvidia")


def _family(card: Card) -> str:
    """Return the name that cards of one generation and class share, such as a100."""
    return _bare(re.sub("-[0-9]+gb$", "", card.name)).rstrip("s")


def _of_size(bare: str) -> Card | None:
    """Return the card of a name with its size, such as H100-80GB, if there is one of this size."""
    for card in CARDS:
        size = re.fullmatch(r"(\d{2,3})gb", bare.removeprefix(_bare(card.name)))
        shown = card.memory_mib / _MIB_PER_GIB
        if size and abs(int(size[1]) - shown) <= _ROUNDED * shown:
            return card
    return None
