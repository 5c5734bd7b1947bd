"""Which ports the port map gives to endpoints, and which activators listen on one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import Activators, PortMapEntry


@dataclass(slots=True)
class PublishedPorts:
    """The ports that the port map gives, and since which version of it."""

    newest: int = 0
    """Resource version of the port map that was written or read last."""
    _since: dict[Key, tuple[int, int]] = field(default_factory=dict)
    """Port of each endpoint, and the first version that has it."""

    def update(self, entries: Mapping[int, PortMapEntry], version: int) -> None:
        """Take over a version of the map."""
        self.newest = version
        before, self._since = self._since, {}
        for port, entry in entries.items():
            key = Key(entry.namespace, entry.name)
            same = before.get(key)
            self._since[key] = same if same is not None and same[0] == port else (port, version)

    def has(self, key: Key, port: int) -> bool:
        """Return whether the port map gives a port to an endpoint."""
        return key in self._since and self._since[key][0] == port

    def is_known(self, key: Key, port: int, activators: Activators) -> bool:
        """Return whether an activator listens on the port of an endpoint."""
        return bool(self._aware(key, port, activators))

    def listeners(self, key: Key, port: int, activators: Activators) -> Activators:
        """Return the activators that may receive the requests of an endpoint.

        They listen on its port. If none does, it is those that do not say which map they have: of
        an older release, or without a response so far. Never one with an older map: the port may
        be another endpoint's there, whose replicas would receive the requests.
        """
        mute = tuple(one for one in activators.addresses if not activators.versions.get(one))
        usable = self._aware(key, port, activators) or (mute if self.has(key, port) else ())
        return replace(activators, addresses=usable)

    def _aware(self, key: Key, port: int, activators: Activators) -> tuple[str, ...]:
        if not self.has(key, port):
            return ()
        _, since = self._since[key]
        versions = activators.versions
        return tuple(one for one in activators.addresses if versions.get(one, 0) >= since)

    def newly_known(self, before: Activators, now: Activators) -> set[Key]:
        """Return the endpoints on whose ports another activator listens now."""
        pairs = ((before.versions.get(one, 0), version) for one, version in now.versions.items())
        moved = [(old, new) for old, new in pairs if old < new]
        ports = self._since.items() if moved else ()
        return {key for key, (_, since) in ports if any(old < since <= new for old, new in moved)}
