"""`spec.rollout`: how a change of the pods reaches them."""

from pydantic import Field

from mistral_operator.api.base import ApiModel


class Rollout(ApiModel):
    """How edits that change the pods are rolled out."""

    max_surge: int = Field(default=0, ge=0, le=1)
    """Number of pods that a rollout may start in addition. 0: an old pod stops before its successor
    starts, which needs no free GPUs. 1: the new pod starts first, and the old one stops when it is
    ready. Set it to 1 where the GPUs of one more replica are free: the rollout waits for them."""
    paused: bool = False
    """Keep the running pods when an edit changes them. The condition Progressing reports that an
    edit waits. Set it to false to roll out everything that was edited meanwhile."""
