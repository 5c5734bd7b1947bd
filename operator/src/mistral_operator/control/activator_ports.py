"""The ports of the activators: which endpoint has which. `activator_port_map.py` writes the map."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from mistral_operator.api import Resource, Spec, parse_spec
from mistral_operator.apply.plan import is_ours
from mistral_operator.control.free_ports import ALL_PORTS, FreePorts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Body, Key
from mistral_operator.kube.plurals import counted
from mistral_operator.render import NetworkDefaults
from mistral_operator.render.activator_network import NO_CALLERS, Callers, callers_of
from mistral_operator.scale_to_zero import (
    MAX_ENTRY_BYTES,
    PORTS,
    PortMapEntry,
    can_scale_to_zero,
    decode_port_map,
    terms_of,
)
from mistral_operator.signals.published_ports import PublishedPorts
from mistral_operator.watch.live_children import LiveChild
from mistral_operator.watch.store import Store

_NEXT = 8
"""Endpoints that look at once whether they get a port that has become free: one does, and some of
them may need none any more. Each that gets one requeues the next ones. All of a fleet would keep
the operator busy."""


class ActivatorPorts:
    """Gives every endpoint that can scale to zero a port.

    Args:
        store: resources and slices.
        per_namespace: maximum number of ports of a namespace, so that none takes those of others.
        requeue: called with the key of a resource that had no port and may get one now.
        network: who may call endpoints that do not say so themselves.
        requeue_after: called with the key of a resource that may get a port in some seconds.
        clock: the time in seconds; it only goes forward.
    """

    def __init__(
        self,
        store: Store,
        per_namespace: int = PORTS,
        requeue: Callable[[Key], None] | None = None,
        network: NetworkDefaults | None = None,
        *,
        requeue_after: Callable[[Key, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._per_namespace = per_namespace
        self._requeue = requeue or (lambda _: None)
        self._requeue_after = requeue_after
        self._network = network or NetworkDefaults()
        self._entries: dict[Key, tuple[int, PortMapEntry]] = {}
        self._callers: dict[Key, Callers] = {}
        self.published = PublishedPorts()
        """The ports that the live map has."""
        self.version = 0
        """Changes with every change of the map, which takes long to encode, and of the callers."""
        self._secrets: dict[Key, str] = {}
        self._refused: dict[Key, str] = {}
        self._oversized: set[Key] = set()
        self._free = FreePorts(clock)

    @property
    def entries(self) -> dict[int, PortMapEntry]:
        """The port map."""
        return dict(self._entries.values())

    @property
    def callers(self) -> dict[int, Callers]:
        """Who may call at each port in use."""
        return {port: self._callers[key] for key, (port, _) in self._entries.items()}

    @property
    def resting(self) -> list[int]:
        """Ports that clients of the endpoints before may still use."""
        return self._free.resting

    def restore(self, data: dict[str, str], resting: Iterable[int] = ()) -> None:
        """Continue with the ports of a map, as far as their resources exist.

        The ports in the slices of other resources rest: until such a resource is reconciled, its
        slice leads requests with its API keys there. Nothing else is taken from a slice, and of
        each resource one port only, since tenants can write slices.

        Args:
            data: the map.
            resting: ports that rest, as the operator before has noted.
        """
        released = [*resting]
        for port, entry in decode_port_map(data).entries.items():
            key = Key(entry.namespace, entry.name)
            body = self._store.resources.get(key)
            if body is None:
                released.append(port)
            else:
                # Paths of a version that had no bound are gone until the resource is reconciled.
                self._entries[key] = port, entry.bounded
                self._callers[key] = self._callers_in(key, body)
                self.version += 1
        for key in self._store.resources:
            used = None if key in self._entries else self._port_in_slice(key)
            if used is not None:
                released.append(used)
        for port in set(released) - self.entries.keys():
            self._free.release(port)

    def _callers_in(self, key: Key, body: Body) -> Callers:
        """Return who may call an endpoint that is not reconciled yet."""
        try:
            spec = parse_spec(body.get("spec"))
        except InvalidResource:
            # It cannot start before it is corrected.
            return NO_CALLERS
        return self._callers_of(key, spec)

    def _callers_of(self, key: Key, spec: Spec) -> Callers:
        deployments = self._store.children[kinds.DEPLOYMENT]
        router_key = Key(key.namespace, names.router(key.name))
        # Its pods may still have requests when the policy is gone.
        has_router = spec.routing.enabled or deployments.get(router_key) is not None
        router = names.router_selector(key.name) if has_router else None
        return callers_of(spec.network, key.namespace, self._network, router)

    def _port_in_slice(self, key: Key) -> int | None:
        """Return the port of the activators that the slice of a resource leads to."""
        used = (port for one in self._own_slices(key) for port in _ports_of(one))
        return next((port for port in used if port in ALL_PORTS), None)

    def has(self, key: Key) -> bool:
        """Return whether an endpoint has a port."""
        return key in self._entries

    def port(self, key: Key, resource: Resource, *, held: bool = False) -> int | None:
        """Return the port of an endpoint, None if it needs none or none is free.

        Args:
            key: of the resource.
            resource: the endpoint. It needs a port if it can scale to zero.
            held: whether it needs one while it has no ready replica.
        """
        if not (held or can_scale_to_zero(resource.spec)):
            self.forget(key)
            return None
        entry = PortMapEntry(namespace=key.namespace, name=key.name, terms=terms_of(resource))
        if entry.size > MAX_ENTRY_BYTES:
            self.forget(key)
            self._refused[key] = _too_large(entry)
            self._oversized.add(key)
            return None
        self._oversized.discard(key)
        port = self._entries[key][0] if key in self._entries else self._take(key)
        if port is None:
            return None
        if self._refused.pop(key, None) is not None:
            self._requeue_next()
        api_keys = resource.spec.gate.api_keys
        self._secrets[key] = "" if api_keys is None else api_keys.secret
        callers = self._callers_of(key, resource.spec)
        if (self._entries.get(key), self._callers.get(key)) != ((port, entry), callers):
            self._entries[key], self._callers[key] = (port, entry), callers
            self.version += 1
        return port

    def is_in(self, data: Mapping[str, str], key: Key) -> bool:
        """Return whether the data of a port map give an endpoint the port that it has."""
        port = str(self._entries[key][0]) if key in self._entries else ""
        written = decode_port_map({port: data[port]} if port in data else {}).entries.values()
        return any((one.namespace, one.name) == key for one in written)

    def keys_secrets(self) -> dict[Key, str | None]:
        """Return the Secret with the API keys of each endpoint that has a port.

        The name is empty if it requires no keys, and None before the resource is reconciled.
        """
        return {key: self._secrets.get(key) for key in self._entries}

    def may_get_one(self, key: Key) -> bool:
        """Return whether an endpoint without a port may get one when it is reconciled."""
        body = self._store.resources.get(key)
        if body is None or "deletionTimestamp" in body["metadata"] or key in self._refused:
            return False
        try:
            return can_scale_to_zero(parse_spec(body.get("spec")))
        except InvalidResource:
            # Not reconciled until it is corrected; until then all stays as it is.
            return True

    def refusal(self, key: Key) -> str | None:
        """Return why an endpoint that can scale to zero has no port, None if it has one."""
        return self._refused.get(key)

    def waits(self, key: Key) -> bool:
        """Return whether an endpoint gets a port when another one needs its port no more."""
        return key in self._refused and key not in self._oversized

    def serve(self, key: Key) -> bool:
        """Return whether the activators are behind the Service of an endpoint."""
        body = self._store.resources.get(key)
        uid = "" if body is None else body["metadata"]["uid"]
        slices = [one for one in self._own_slices(key) if body is None or is_ours(one, uid)]
        return any(child.object().get("endpoints") for child in slices)

    def _own_slices(self, key: Key) -> list[LiveChild]:
        """Return the slices with the names that the operator gives. Anyone may have written one."""
        own = {names.activator_slice(key.name, ipv6=ipv6) for ipv6 in (False, True)}
        slices = self._store.children[kinds.ENDPOINT_SLICE].owned(key)
        return [one for one in slices if one.name in own]

    def forget(self, key: Key) -> None:
        """Take back the port of an endpoint."""
        waited = self._refused.pop(key, None) is not None
        self._oversized.discard(key)
        self._secrets.pop(key, None)
        self._callers.pop(key, None)
        port, _ = self._entries.pop(key, (None, None))
        if port is not None:
            self.version += 1
            self._free.release(port)
        if waited or port is not None:
            self._requeue_next()

    def _requeue_next(self) -> None:
        """Let the next ones of those that wait look whether they get a port."""
        for one in self._next():
            self._requeue(one)

    def _next(self) -> list[Key]:
        """Return those that have waited longest and may have a port."""
        used = self._used()
        waiting = (one for one in self._refused if self.waits(one))
        can_gain = (one for one in waiting if used[one.namespace] < self._per_namespace)
        return [*islice(can_gain, _NEXT)]

    def _used(self) -> Counter[str]:
        """Return the number of ports of each namespace."""
        return Counter(one.namespace for one in self._entries)

    def _take(self, key: Key) -> int | None:
        """Return a free port; without one, remember why."""
        if self._used()[key.namespace] >= self._per_namespace:
            self._refused[key] = (
                f"namespace {key.namespace} already uses"
                f" {counted(self._per_namespace, 'port')} of the activators, its maximum"
            )
            return None
        port = self._free.take(self.entries.keys())
        if port is None:
            self._refused[key] = f"all {PORTS} ports of the activators are in use"
            rest = self._free.rest_seconds
            if rest is not None and key in self._next():
                self._requeue_after(key, rest + 0.1)
        return port


def _ports_of(endpoint_slice: LiveChild) -> list[int]:
    return [one["port"] for one in endpoint_slice.object().get("ports") or () if "port" in one]


def _too_large(entry: PortMapEntry) -> str:
    return (
        "spec.gate.paths and its names are too long for the activators together:"
        f" {entry.size} bytes of at most {MAX_ENTRY_BYTES}"
    )
