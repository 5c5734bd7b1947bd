"""The EndpointSlices that put the activators behind the Services of scale-to-zero endpoints."""

from collections.abc import Iterable

from mistral_operator.api import Resource
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, can_scale_to_zero
from mistral_operator.watch.store import LiveChild, Store


class ActivatorSlices:
    """What the slices in the cluster say, and which port each endpoint gets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ports = Ports(store)

    def port(self, key: Key, resource: Resource) -> int | None:
        """Return the port of the activators for an endpoint, None if it is never scaled to zero."""
        if not can_scale_to_zero(resource.spec):
            self.forget(key)
            return None
        return self._ports.of(key)

    def serve(self, key: Key) -> bool:
        """Tell whether the activators are behind the Service of an endpoint."""
        return any(child.object().get("endpoints") for child in _slices(self._store, key))

    def forget(self, key: Key) -> None:
        """Take back the port of an endpoint."""
        self._ports.forget(key)


class Ports:
    """Assigns a port of the activators to every endpoint that may scale to zero, and remembers it.

    The memory is the cluster's: the slices hold the ports, so a new operator gives the same.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._assigned: dict[Key, int] = {}

    def of(self, key: Key) -> int | None:
        """Return the port of an endpoint, None if none is free."""
        if key not in self._assigned:
            port = self._kept(key) or self._free()
            if port is None:
                return None
            self._assigned[key] = port
        return self._assigned[key]

    def forget(self, key: Key) -> None:
        """Take a port back."""
        self._assigned.pop(key, None)

    def _kept(self, key: Key) -> int | None:
        """Return the port in the cluster, unless an edit made two endpoints share it."""
        port = next(filter(None, map(port_of, _slices(self._store, key))), None)
        return None if port in self._assigned.values() else port

    def _free(self) -> int | None:
        live = map(port_of, self._store.children[kinds.ENDPOINT_SLICE].values())
        taken = {*self._assigned.values(), *live}
        return next(
            (one for one in range(FIRST_PORT, FIRST_PORT + PORTS) if one not in taken), None
        )


def port_of(child: LiveChild) -> int | None:
    """Return the port that a slice gives an endpoint, None if it is none of ours."""
    ports = child.object().get("ports") or [{}]
    port = ports[0].get("port") or 0
    return port if FIRST_PORT <= port < FIRST_PORT + PORTS else None


def _slices(store: Store, key: Key) -> Iterable[LiveChild]:
    return store.children[kinds.ENDPOINT_SLICE].owned(key)
