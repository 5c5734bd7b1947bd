"""What is decided about fetching a model before pods need it. Pure.

`control/prefetch.py` decides, `render/prefetch.py` makes the Job of it, and `status/prefetch.py`
says what it waits for.
"""

from dataclasses import dataclass
from enum import StrEnum


class PrefetchPhase(StrEnum):
    """How far the fetch of a model is."""

    NONE = ""
    """Nothing is fetched in advance."""
    CLAIM = "the claim does not exist yet"
    FETCHING = "the Job fetches the model"
    REPLACING = "another Job is deleted first"
    FETCHED = "the Job has succeeded"
    """The pods may have the model, and the Job stays until their Deployment says so."""
    RECORDED = "the Deployment says that its model was fetched"
    UNPLACED = "no node has the GPUs yet"
    """The volume belongs where the pods can run, and that is not known: they fetch themselves."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the Job has to run so that its volume can be mounted there, now and by the pods."""

    beside_replicas: bool = False
    """On the node of a replica: its claim is mounted there, and can be on no other."""
    nodes: tuple[str, ...] = ()
    """On one of these, by the label kubernetes.io/hostname; on any if empty."""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Whether the model of an endpoint is fetched in advance, and what waits for it."""

    phase: PrefetchPhase = PrefetchPhase.NONE
    mark: str = ""
    """Which model is to be on which claim."""
    placement: Placement = Placement()
    keeps_job: bool = False
    """The Job exists and stays as it is: nothing of what it runs could be changed."""
    replicas: int | None = None
    """Replicas of the Deployment while its pods stay as they are; None if it does not exist."""

    @property
    def holds(self) -> bool:
        """Whether the Deployment stays as it is, except for its replicas."""
        return self.phase in _HOLDING

    @property
    def creates_job(self) -> bool:
        """Whether there is to be a Job and is none."""
        return self.phase is PrefetchPhase.FETCHING and not self.keeps_job

    @property
    def recorded(self) -> str:
        """What the Deployment is to say of its model; empty if it was not fetched in advance."""
        return self.mark if self.phase in _FETCHED else ""


_HOLDING = {PrefetchPhase.CLAIM, PrefetchPhase.FETCHING, PrefetchPhase.REPLACING}
_FETCHED = {PrefetchPhase.FETCHED, PrefetchPhase.RECORDED}
