"""What the operator and the activator agree on, and when an endpoint needs the activator. Pure.

An endpoint that may sleep has an EndpointSlice of its own beside those that Kubernetes makes for
its Service. While no replica is ready, the slice holds the addresses of the activators; its port
says which endpoint is meant, since a request that arrives has lost the Service's address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from mistral_operator.api import Resource, Spec

FIRST_PORT = 20_000
PORTS = 2_000
"""Ports of the activator, one for each endpoint that may sleep. They end below those that Linux
gives to outgoing connections (32768)."""

_Endpoint = tuple[str, str]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Terms(_Document):
    """What the activator has to know of an endpoint: the annotation on its slice."""

    model: str
    """Name of the served model, for /v1/models."""
    keys: bool = False
    """Callers have to show an API key. Which are right is known to the replicas alone; a request
    without any wakes nobody."""
    max_wait_seconds: int = Field(ge=1)
    """Seconds that a request is held."""
    max_requests: int = Field(ge=1)
    """Requests that are held at most."""


class Waiting(_Document):
    """One endpoint, as an activator sees it."""

    namespace: str
    name: str
    held: int = Field(default=0, ge=0)
    """Requests that wait for a replica."""
    targets: int = Field(default=0, ge=0)
    """Ready replicas that the Service knows."""


class ActivatorDocument(_Document):
    """What an activator says at /signals: the endpoints of which there is something to say."""

    endpoints: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Activation:
    """Where the activator stands in for an endpoint that may sleep."""

    port: int
    """Port of the activator that means this endpoint."""
    addresses: tuple[str, ...] = ()
    """Addresses of the activator; empty while it is not in the way of requests."""
    ipv6: bool = False
    """Family of the addresses."""


@dataclass(frozen=True, slots=True)
class Activators:
    """What is known of all activators together."""

    addresses: tuple[str, ...] = ()
    """Addresses of those that are ready."""
    held: Mapping[_Endpoint, int] = field(default_factory=dict)
    """Held requests, by namespace and name of the endpoint."""
    targets: Mapping[_Endpoint, int] = field(default_factory=dict)
    """Ready replicas that an activator sees, by namespace and name of the endpoint."""

    @property
    def ipv6(self) -> bool:
        """Family of the addresses."""
        return any(":" in one for one in self.addresses)


def may_sleep(spec: Spec) -> bool:
    """Tell whether an endpoint may have no replica and still answers."""
    return spec.autoscaling is not None and not spec.autoscaling.min_replicas and not spec.suspend


def activation(resource: Resource, port: int, activators: Activators) -> Activation:
    """Return where the activator stands in for an endpoint that may sleep.

    It goes as soon as it sees a ready replica itself: whoever sees its slice empty saw the slice
    with that replica before, since both are versions of one kind of object.
    """
    key = resource.namespace, resource.name
    needed = not resource.spec.replicas or not activators.targets.get(key)
    addresses = activators.addresses if needed else ()
    return Activation(port, addresses, activators.ipv6)
