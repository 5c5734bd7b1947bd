"""The interface of operator and activator, and how requests reach the activator. Pure.

An endpoint that can scale to zero has an EndpointSlice of the operator in addition to those that
Kubernetes creates for its Service, and others have one while their last replica is replaced or
gone. While no replica is ready, the slice contains the addresses of the activators. Its port
identifies the endpoint, since a request that arrives no longer carries the address of the Service.

Which port belongs to which endpoint is in one ConfigMap in the operator's own namespace, the port
map. Anyone with the permission in a namespace can write an EndpointSlice, so the activator takes
neither ports nor settings from slices.

A second ConfigMap, the key map, has digests of the API keys that the replicas of an endpoint
accepted last. With them the activator checks keys while no replica runs.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from mistral_operator.api import Activation, Resource, Rollout, Spec
from mistral_operator.kube.objects import Key
from mistral_server.contract import MAX_KEY_DIGESTS, KeyDigests

FIRST_PORT = 20_000
PORTS = 2_000
"""Number of ports of the activator, one per endpoint that needs it. They end below the ephemeral
ports of Linux (32768)."""

MAX_ENTRY_BYTES = 520
"""Size of a port and its entry in the port map. Then the entries of all ports fit into one object
of 1 MiB, whatever tenants write: a map that the API server rejects would stop all of them."""

PORT_MAP_QUERY = "portMap"
"""Parameter of /signals of an activator: the resource version of the port map that it should have
before it answers."""

_Endpoint = tuple[str, str]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Terms(_Document):
    """Settings of an endpoint for the activator, in the port map.

    They are also an annotation on its slice, where an activator of version 0.1.0 reads them during
    an upgrade.
    """

    model: str = Field(max_length=200)
    """Name of the served model, for /v1/models."""
    keys: bool = False
    """Whether clients must send an API key. A request without one does not start a replica."""
    paths: tuple[Annotated[str, Field(max_length=253)], ...] = Field(default=(), max_length=64)
    """Paths that are open in addition to those that always are."""
    origins: tuple[Annotated[str, Field(max_length=128)], ...] = Field(default=(), max_length=8)
    """Origins of web pages that may use the endpoint from a browser."""
    max_wait_seconds: int = Field(ge=1, le=3600)
    """Longest time that a request is queued, in seconds."""
    max_requests: int = Field(ge=1, le=10_000)
    """Maximum number of queued requests."""

    @model_serializer(mode="wrap")
    def _without_empty_origins(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out origins if there are none: most entries of the port map need the room."""
        document: dict[str, Any] = serialize(self)
        return {name: one for name, one in document.items() if name != "origins" or one}


class PortMapEntry(_Document):
    """The endpoint of one port."""

    namespace: str
    name: str
    terms: Terms

    @property
    def size(self) -> int:
        """Bytes that the entry takes in the port map, with its port."""
        return len(str(FIRST_PORT)) + len(self.model_dump_json().encode())

    @property
    def bounded(self) -> Self:
        """The entry, without paths and origins of its endpoint if it is too large with them."""
        if self.size <= MAX_ENTRY_BYTES:
            return self
        terms = self.terms.model_copy(update={"paths": (), "origins": ()})
        return self.model_copy(update={"terms": terms})


def encode_port_map(entries: Mapping[int, PortMapEntry]) -> dict[str, str]:
    """Return the data of the ConfigMap with the port map."""
    return {str(port): entries[port].model_dump_json() for port in sorted(entries)}


@dataclass(frozen=True, slots=True)
class PortMap:
    """The decoded port map."""

    entries: Mapping[int, PortMapEntry]
    problems: tuple[str, ...] = ()
    """What of it is invalid and therefore ignored, in sentences."""


def decode_port_map(data: Mapping[str, str]) -> PortMap:
    """Return the port map in a ConfigMap.

    An endpoint with two ports has neither: only one of them can be right, and requests with its API
    keys must not reach another endpoint.
    """
    entries: dict[int, PortMapEntry] = {}
    problems = []
    for key, text in sorted(data.items()):
        if not (key.isascii() and key.isdigit() and len(key) == len(str(FIRST_PORT))):
            problems.append(f"{key!r} is not a port")
        elif not FIRST_PORT <= int(key) < FIRST_PORT + PORTS:
            problems.append(f"port {key} is outside of {FIRST_PORT} to {FIRST_PORT + PORTS - 1}")
        else:
            try:
                entries[int(key)] = PortMapEntry.model_validate_json(text)
            except ValidationError:
                problems.append(f"the entry of port {key} is invalid")
    ports: dict[_Endpoint, list[int]] = {}
    for port, entry in entries.items():
        ports.setdefault((entry.namespace, entry.name), []).append(port)
    for endpoint, several in ports.items():
        if len(several) > 1:
            problems.append(f"{'/'.join(endpoint)} has the ports {', '.join(map(str, several))}")
            for port in several:
                del entries[port]
    return PortMap(entries, tuple(problems))


_KEY_MAP_ENTRY = re.compile(
    rf"1 ([A-Za-z0-9_-]{{8}}) ([A-Za-z0-9_-]{{16}}) ((?:[A-Za-z0-9_-]{{8}}){{1,{MAX_KEY_DIGESTS}}})"
)
"""An entry of the key map: format, Secret, salt and digests. Texts of a fixed length, since 2,000
entries have to fit into an object of 1 MiB."""


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Digests of the API keys of one endpoint, in the key map."""

    secret: str
    """Stands for the Secret with the keys. With another one, the digests are void."""
    salt: str
    digests: tuple[str, ...]


def keys_to_store(
    before: StoredKeys | None, secret: str, reported: Sequence[KeyDigests | None]
) -> StoredKeys | None:
    """Return the digests to keep of an endpoint, None for none.

    While no replica runs, they are those of the last one, unless the resource names another Secret.
    A replica with an image that publishes none makes the last ones void. Of several replicas, each
    with a salt of its own, the digests stay those of one as long as it runs.

    Args:
        before: what is kept now.
        secret: name of the Secret with the keys.
        reported: what each ready replica with this Secret reports.
    """
    stands_for = hashlib.sha256(secret.encode()).hexdigest()[:8]
    kept = before if before is not None and before.secret == stands_for else None
    if not reported:
        return kept
    usable = [one for one in reported if one is not None and one.usable]
    same = [one for one in usable if kept is not None and one.salt == kept.salt]
    return next(
        (StoredKeys(stands_for, one.salt, one.digests) for one in (*same, *usable)),
        None,
    )


def encode_key_map(entries: Mapping[Key, StoredKeys]) -> dict[str, str]:
    """Return the data of the ConfigMap with the key map. A namespace has no period in its name."""
    return {
        f"{key.namespace}.{key.name}": f"1 {one.secret} {one.salt} {''.join(one.digests)}"
        for key, one in sorted(entries.items())
    }


def decode_key_map(data: Mapping[str, str]) -> dict[Key, StoredKeys]:
    """Return the key map in a ConfigMap; entries of another format are ignored."""
    entries = {}
    for name, text in data.items():
        match = _KEY_MAP_ENTRY.fullmatch(text)
        if match is not None:
            namespace, _, endpoint = name.partition(".")
            secret, salt, joined = match.groups()
            digests = tuple(joined[at : at + 8] for at in range(0, len(joined), 8))
            entries[Key(namespace, endpoint)] = StoredKeys(secret, salt, digests)
    return entries


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
    port_map: int = Field(default=0, ge=0, le=2**63 - 1)
    """Resource version of the port map whose ports it listens on. 0 is older than all."""


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
    versions: Mapping[str, int] = field(default_factory=dict)
    """Resource version of the port map whose ports each of them has open, as far as they say so."""

    @property
    def port_map(self) -> int:
        """Resource version of the port map that all of them have; 0 if one does not say so."""
        return min((self.versions.get(one, 0) for one in self.addresses), default=0)

    @property
    def ipv6(self) -> bool:
        """Whether the addresses are IPv6."""
        return any(":" in one for one in self.addresses)


def can_scale_to_zero(spec: Spec) -> bool:
    """Return whether an endpoint may run without replicas and start one on request."""
    return spec.autoscaling is not None and not spec.autoscaling.min_replicas and not spec.suspend


def terms_of(resource: Resource) -> Terms:
    """Return the settings of an endpoint for the activator."""
    spec = resource.spec
    limits: Activation | Rollout = spec.rollout
    if spec.autoscaling is not None and can_scale_to_zero(spec):
        limits = spec.autoscaling.activation
    return Terms(
        model=spec.model.name,
        keys=spec.gate.api_keys is not None,
        paths=tuple(spec.gate.paths),
        origins=tuple(spec.gate.allowed_origins),
        max_wait_seconds=limits.max_wait_seconds,
        max_requests=limits.max_requests,
    )


def activator_route(
    resource: Resource, port: int, activators: Activators, *, held: bool = False
) -> ActivatorRoute | None:
    """Return the route to the activator, None for an endpoint that has no slice now.

    The addresses are removed once an activator itself has a ready replica in its slices. A watcher
    that sees the operator's slice empty has then already seen that replica, since both are objects
    of one kind. Endpoints that can scale to zero keep an empty slice, and with it their port.

    Args:
        resource: the endpoint, with its replicas.
        port: port of the activator for it.
        activators: the activators.
        held: whether they serve in place of its last replica.
    """
    key = resource.namespace, resource.name
    permanent = can_scale_to_zero(resource.spec)
    idle = permanent and (not resource.spec.replicas or not activators.targets.get(key))
    addresses = activators.addresses if idle or held else ()
    if not (permanent or addresses):
        return None
    return ActivatorRoute(port, addresses, activators.ipv6)
