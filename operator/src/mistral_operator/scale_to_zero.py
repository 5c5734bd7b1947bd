"""The interface of operator and activator, and when an endpoint needs the activator. Pure.

An endpoint that can scale to zero has an EndpointSlice of the operator in addition to those that
Kubernetes creates for its Service. While no replica is ready, the slice contains the addresses of
the activators. Its port identifies the endpoint, since a request that arrives no longer carries the
address of the Service.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from mistral_operator.api import Resource, Spec

FIRST_PORT = 20_000
PORTS = 2_000
"""Number of ports of the activator, one per endpoint that can scale to zero. They end below the
ephemeral ports of Linux (32768)."""

_Endpoint = tuple[str, str]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Terms(_Document):
    """Settings of an endpoint for the activator: the annotation on its slice."""

    model: str = Field(max_length=200)
    """Name of the served model, for /v1/models."""
    keys: bool = False
    """Whether clients must send an API key. Only the replicas check its value; a request without a
    key does not start one."""
    max_wait_seconds: int = Field(ge=1, le=3600)
    """Longest time that a request is queued, in seconds."""
    max_requests: int = Field(ge=1, le=10_000)
    """Maximum number of queued requests."""


class EndpointReport(_Document):
    """What an activator reports of one endpoint."""

    namespace: str = Field(max_length=63)
    name: str = Field(max_length=253)
    held: int = Field(default=0, ge=0, le=10**6)
    """Number of queued requests."""
    targets: int = Field(default=0, ge=0, le=10**6)
    """Number of ready replicas in the slices of the Service."""


class ActivatorDocument(_Document):
    """The document at /signals of an activator: endpoints with queued requests or replicas."""

    endpoints: tuple[EndpointReport, ...] = Field(default=(), max_length=PORTS)


@dataclass(frozen=True, slots=True)
class ActivatorRoute:
    """How requests reach the activator for an endpoint that can scale to zero."""

    port: int
    """Port of the activator for this endpoint."""
    addresses: tuple[str, ...] = ()
    """Addresses of the activators; empty while they are not on the request path."""
    ipv6: bool = False
    """Whether the addresses are IPv6."""


@dataclass(frozen=True, slots=True)
class Activators:
    """Combined reports of all activators."""

    addresses: tuple[str, ...] = ()
    """Addresses of the ready activators."""
    held: Mapping[_Endpoint, int] = field(default_factory=dict)
    """Number of queued requests, by namespace and name of the endpoint."""
    targets: Mapping[_Endpoint, int] = field(default_factory=dict)
    """Number of ready replicas that an activator sees, by namespace and name of the endpoint."""

    @property
    def ipv6(self) -> bool:
        """Whether the addresses are IPv6."""
        return any(":" in one for one in self.addresses)


def can_scale_to_zero(spec: Spec) -> bool:
    """Return whether an endpoint may run without replicas and start one on request."""
    return spec.autoscaling is not None and not spec.autoscaling.min_replicas and not spec.suspend


def activator_route(resource: Resource, port: int, activators: Activators) -> ActivatorRoute:
    """Return the route to the activator for an endpoint that can scale to zero.

    The addresses are removed once an activator itself has a ready replica in its slices. A watcher
    that sees the operator's slice empty has then already seen that replica, since both are objects
    of one kind.
    """
    key = resource.namespace, resource.name
    needed = not resource.spec.replicas or not activators.targets.get(key)
    addresses = activators.addresses if needed else ()
    return ActivatorRoute(port, addresses, activators.ipv6)
