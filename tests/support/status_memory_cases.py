"""Histories of out-of-memory failures, with what the condition OutOfMemory says of each."""

from builders import NOW
from mistral_operator.api import (
    Change,
    Oom,
    OomEvent,
    Overrides,
    Reason,
    Step,
)

SEEN = OomEvent(failure="KVCacheTooSmall", pod="small-1", evidence="1344 is what fits.")
CHANGE = Change(
    setting="spec.engine.contextLength", before="8192", after="1344", reason="that many fit"
)
TRYING = Step(**CHANGE.model_dump(), failure="KVCacheTooSmall", time=NOW)
HELPED = TRYING.model_copy(update={"outcome": "Helped"})
REVERTED = TRYING.model_copy(update={"outcome": "Reverted"})
ACTIVE = Oom(events=[SEEN], active="KVCacheTooSmall")

MEMORY_CASES: dict[str, tuple[Oom | None, str, str, list[str]]] = {
    "nothing ever happened": (
        None,
        "False",
        Reason.MEMORY_SUFFICES,
        ["no unresolved out-of-memory failure"],
    ),
    "it is over": (
        Oom(events=[SEEN]),
        "False",
        Reason.MEMORY_SUFFICES,
        ["no unresolved out-of-memory failure"],
    ),
    "something is recommended": (
        ACTIVE.model_copy(update={"recommendation": CHANGE}),
        "True",
        "KVCacheTooSmall",
        [
            "pod small-1: 1344 is what fits",
            "Set spec.engine.contextLength to 1344 (currently 8192)",
        ],
    ),
    "something is tried": (
        ACTIVE.model_copy(update={"steps": [TRYING]}),
        "True",
        "KVCacheTooSmall",
        ["Trying spec.engine.contextLength 1344 instead of 8192: that many fit"],
    ),
    "nothing is left to try": (
        ACTIVE.model_copy(update={"steps": [REVERTED], "exhausted": True}),
        "True",
        "KVCacheTooSmall",
        [
            "All changes within the limits of spec.oom have been tried",
            "spec.engine.contextLength 1344 (reverted)",
        ],
    ),
    "it is only observed": (ACTIVE, "True", "KVCacheTooSmall", ["Set spec.engine.contextLength"]),
    "a change has helped": (
        Oom(events=[SEEN], steps=[HELPED], overrides=Overrides(context_length=1344)),
        "False",
        Reason.REMEDIED,
        ["spec.engine.contextLength 1344", "set this in the spec to keep it"],
    ),
    "it fails for something else than memory": (
        Oom(active="NotWritable"),
        "False",
        Reason.MEMORY_SUFFICES,
        [],
    ),
}
