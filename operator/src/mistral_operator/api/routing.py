"""`spec.routing`: which replica gets a request."""

from typing import Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, Quantity
from mistral_operator.api.pod import ComputeResource, ContainerResources


class RouterResources(ContainerResources):
    """CPU and memory of a pod of the router."""

    requests: dict[ComputeResource, Quantity] = Field(default={})
    """Resource requests. Unset: 100m CPU and 128Mi, or the limit if that is lower."""
    limits: dict[ComputeResource, Quantity] = Field(default={})
    """Resource limits. Unset: 512Mi of memory, or the request if that is higher; no other limit."""


class Routing(ApiModel):
    """Which replica gets a request."""

    policy: Literal["None", "LeastRequest", "Session", "Prefix"] = "None"
    """How a replica is chosen. `None`: the Service chooses one at random. The others put a router
    (Envoy) behind the Service. `LeastRequest`: the replica with the fewest requests. `Session`: the
    same replica for all requests with the same header `X-Session-Id`. `Prefix`: the same as
    `Session` with that header, and otherwise the same replica for chats that begin with the same
    message of a user, so that it finds the conversation in its prefix cache. A replica that has
    1.25 times the average of requests passes further ones on. With one replica no policy has an
    effect."""
    replicas: int = Field(default=2, ge=1, le=16)
    """Number of pods of the router."""
    resources: RouterResources = RouterResources()
    """CPU and memory of each pod of the router."""

    @property
    def enabled(self) -> bool:
        """Whether the endpoint has a router."""
        return self.policy != "None"
