"""Stages, which a server is in, and phases, in which it failed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from mistral_server.contract.lenient import cut_to


class Stage(StrEnum):
    """What a server is doing, in chronological order."""

    STARTING = "starting"
    LOADING = "loading"
    PROFILING = "profiling"
    WARMING_UP = "warming-up"
    CANARY = "canary"
    SERVING = "serving"
    DRAINING = "draining"


class Phase(StrEnum):
    """What the engine was doing when it failed, as its log shows. The names are API."""

    START = "start"
    """Processes start and open the GPU, before the weights are loaded."""
    WEIGHTS = "weights"
    """The weights are loaded."""
    PROFILING = "profiling"
    """The largest step is computed to measure the memory of activations."""
    KV_CACHE = "kv-cache"
    """The KV cache is sized and allocated."""
    WARM_UP = "warm-up"
    """Kernels are compiled and CUDA graphs captured."""
    SERVING = "serving"
    """Requests are computed."""
    IMAGES = "images"
    """The images of a request are encoded."""


PHASE_OF_STAGE = {
    Stage.STARTING: Phase.START,
    Stage.LOADING: Phase.WEIGHTS,
    Stage.PROFILING: Phase.PROFILING,
    Stage.WARMING_UP: Phase.WARM_UP,
    Stage.CANARY: Phase.SERVING,
    Stage.SERVING: Phase.SERVING,
    Stage.DRAINING: Phase.SERVING,
}
"""The phase of a failure whose log does not show one."""

ReportedName = Annotated[str, cut_to(64), StringConstraints(strip_whitespace=True, max_length=64)]
"""A name or version as reported, cut to the length that fits a status."""

ReportedStage = Annotated[Stage | ReportedName, Field(union_mode="left_to_right")]
"""A stage, or the name of a stage of another server version."""

ReportedPhase = Annotated[Phase | ReportedName, Field(union_mode="left_to_right")]
"""A phase, or the name of a phase of another server version."""
