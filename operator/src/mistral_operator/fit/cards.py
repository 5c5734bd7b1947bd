"""The GPUs that `mistral-operator fit` knows by name.

Memory as nvidia-smi shows it (with ECC where that is the default) and compute capability, as
published by NVIDIA. The usable part of most is assumed: `gpu_memory.CARDS` has those that were
measured.
"""

import difflib
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedCard:
    """A GPU by name."""

    name: str
    memory_mib: int
    """Memory as nvidia-smi shows it."""
    compute_major: int
    """Major compute capability."""


NAMED_CARDS = (
    NamedCard("t4", 15_360, 7),
    NamedCard("a10", 23_028, 8),
    NamedCard("l4", 23_034, 8),
    NamedCard("rtx-4090", 24_564, 8),
    NamedCard("a30", 24_576, 8),
    NamedCard("a100-40gb", 40_960, 8),
    NamedCard("l40s", 46_068, 8),
    NamedCard("rtx-a6000", 49_140, 8),
    NamedCard("h100", 81_559, 9),
    NamedCard("a100-80gb", 81_920, 8),
    NamedCard("h100-nvl", 95_830, 9),
    NamedCard("h200", 143_771, 9),
    NamedCard("b200", 183_359, 10),
)
"""By ascending memory."""


def card_named(name: str) -> NamedCard:
    """Return a card by its name, in any case and with any separators.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    by_name = {_bare(one.name): one for one in NAMED_CARDS}
    bare = _bare(name)
    if bare in by_name:
        return by_name[bare]
    longer = [one.name for key, one in by_name.items() if bare and key.startswith(bare)]
    meant = longer or [
        by_name[key].name for key in difflib.get_close_matches(bare, by_name, n=2, cutoff=0.7)
    ]
    names = ", ".join(one.name for one in NAMED_CARDS)
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    raise ValueError(f"{hint}the names are {names}; for another one, use --gpu-memory")


def _bare(name: str) -> str:
    text = re.sub("[^a-z0-9]", "", name.lower().removeprefix("nvidia"))
    return text.removesuffix("80gb") if text.startswith("h100") else text
