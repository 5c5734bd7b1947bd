"""The ports of the activators: which endpoint has which. `activator_port_map.py` writes the map."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice

from mistral_operator.api import Resource, Spec, parse_spec
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Body, Key
from mistral_operator.kube.plurals import counted
from mistral_operator.render import NetworkDefaults
from mistral_operator.render.activator_network import NO_CALLERS, Callers, callers_of
from mistral_operator.scale_to_zero import (
    FIRST_PORT,
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

_ALL_PORTS = range(FIRST_PORT, FIRST_PORT + PORTS)

_NEXT = 8
"""Endpoints that look at once whether they get a port that has become free: one does, and some of
them may need none any more. All of a fleet would keep the operator busy."""


class ActivatorPorts:
    """Gives every endpoint that can scale to zero a port.

    Args:
        store: resources and slices.
        per_namespace: maximum number of ports of a namespace, so that none takes those of others.
        requeue: called with the key of a resource that had no port and may get one now.
        network: who may call endpoints that do not say so themselves.
    """

    def __init__(
        self,
        store: Store,
        per_namespace: int = PORTS,
        requeue: Callable[[Key], None] | None = None,
        network: NetworkDefaults | None = None,
    ) -> None:
        self._store = store
        self._per_namespace = per_namespace
        self._requeue = requeue or (lambda _: None)
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
        self._released: dict[int, None] = {}
        """Ports that were used before, the longest unused first. They are given last: a client of
        the previous endpoint may still connect to one."""

    @property
    def entries(self) -> dict[int, PortMapEntry]:
        """The port map."""
        return dict(self._entries.values())

    @property
    def callers(self) -> dict[int, Callers]:
        """Who may call at each port in use."""
        return {port: self._callers[key] for key, (port, _) in self._entries.items()}

    def restore(self, data: dict[str, str]) -> None:
        """Continue with the ports of a map, as far as their resources exist.

        The ports in the slices of other resources are given last: until such a resource is
        reconciled, its slice leads requests with its API keys there. Nothing else is taken from a
        slice, and of each resource one port only, since tenants can write slices.
        """
        for port, entry in decode_port_map(data).entries.items():
            key = Key(entry.namespace, entry.name)
            body = self._store.resources.get(key)
            if body is not None:
                # Paths of a version that had no bound are gone until the resource is reconciled.
                self._entries[key] = port, entry.bounded
                self._callers[key] = self._callers_in(key, body)
                self.version += 1
        taken = {port for port, _ in self._entries.values()}
        for key in self._store.resources:
            used = None if key in self._entries else self._port_in_slice(key)
            if used is not None and used not in taken:
                self._released[used] = None

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
        own = {names.activator_slice(key.name, ipv6=ipv6) for ipv6 in (False, True)}
        slices = self._store.children[kinds.ENDPOINT_SLICE].owned(key)
        used = (port for one in slices if one.name in own for port in _ports_of(one))
        return next((port for port in used if port in _ALL_PORTS), None)

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
        port = self._entries[key][0] if key in self._entries else self._free(key)
        if port is None:
            return None
        self._refused.pop(key, None)
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
        slices = self._store.children[kinds.ENDPOINT_SLICE].owned(key)
        return any(child.object().get("endpoints") for child in slices)

    def forget(self, key: Key) -> None:
        """Take back the port of an endpoint."""
        self._refused.pop(key, None)
        self._oversized.discard(key)
        self._secrets.pop(key, None)
        self._callers.pop(key, None)
        port, _ = self._entries.pop(key, (None, None))
        if port is None:
            return
        self.version += 1
        self._released[port] = None
        used = self._used()
        waiting = (one for one in self._refused if self.waits(one))
        can_gain = (one for one in waiting if used[one.namespace] < self._per_namespace)
        for one in (*islice(can_gain, _NEXT),):
            self._requeue(one)

    def _used(self) -> Counter[str]:
        """Return the number of ports of each namespace."""
        return Counter(one.namespace for one in self._entries)

    def _free(self, key: Key) -> int | None:
        """Return a free port; without one, remember why."""
        if self._used()[key.namespace] >= self._per_namespace:
            self._refused[key] = (
                f"namespace {key.namespace} already uses"
                f" {counted(self._per_namespace, 'port')} of the activators, its maximum"
            )
            return None
        taken = {port for port, _ in self._entries.values()}
        unused = (one for one in _ALL_PORTS if one not in taken and one not in self._released)
        port = next(unused, None) or next(iter(self._released), None)
        if port is None:
            self._refused[key] = f"all {PORTS} ports of the activators are in use"
            return None
        self._released.pop(port, None)
        return port


def _ports_of(endpoint_slice: LiveChild) -> list[int]:
    return [one["port"] for one in endpoint_slice.object().get("ports") or () if "port" in one]


def _too_large(entry: PortMapEntry) -> str:
    return (
        "spec.gate.paths and its names are too long for the activators together:"
        f" {entry.size} bytes of at most {MAX_ENTRY_BYTES}"
    )
