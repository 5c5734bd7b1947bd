"""`spec.rollout`: how a change of the pods reaches them, and what happens to requests meanwhile."""

from typing import Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel


class Rollout(ApiModel):
    """How edits that change the pods are rolled out, and requests while no replica is ready."""

    hold: Literal["Auto", "Never"] = "Auto"
    """Whether the chart's activator queues requests while no replica is ready: when an edit or a
    drain replaces the last one, or it crashed. `Auto`: it does, if the chart installed it. `Never`:
    clients are refused until a replica is ready. An endpoint that was never ready, is suspended or
    has no replicas is not held."""
    max_wait_seconds: int = Field(default=600, ge=1, le=3600)
    """Longest time that a request is queued, in seconds. After that the client receives 503 with
    Retry-After. Timeouts of clients and load balancers must be at least as long. An endpoint with
    minReplicas 0 uses `autoscaling.activation` instead."""
    max_requests: int = Field(default=500, ge=1, le=10_000)
    """Maximum number of queued requests in each activator. Further requests receive 503
    immediately. An endpoint with minReplicas 0 uses `autoscaling.activation` instead."""
    max_surge: int = Field(default=0, ge=0, le=1)
    """Number of pods that a rollout may start in addition. 0: an old pod stops before its successor
    starts, which needs no free GPUs. 1: the new pod starts first, and the old one stops when it is
    ready. Set it to 1 where the GPUs of one more replica are free: the rollout waits for them."""
    prepull: Literal["Never", "BeforeRollout"] = "Never"
    """Whether an edit of the images waits until the nodes have pulled them. `BeforeRollout`: a
    DaemonSet pulls them on every node that fits the pods, while the old pods serve. Images that no
    node can pull are not rolled out. `Never`: each new pod pulls while it holds its GPUs."""
    prepull_seconds: int = Field(default=1200, ge=60, le=86_400)
    """Longest time that an edit waits for nodes that have not pulled its images yet, in seconds.
    After that it is rolled out, unless nodes report that they cannot pull and none has pulled."""
    paused: bool = False
    """Keep the running pods when an edit changes them. The condition Progressing reports that an
    edit waits. Set it to false to roll out everything that was edited meanwhile."""
