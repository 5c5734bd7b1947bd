"""Which ports the port map gives to endpoints, and when all activators listen on one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
        """Return whether all activators listen on the port of an endpoint."""
        if not (self.has(key, port) and activators.addresses):
            return False
        return self._since[key][1] <= activators.port_map

    def between(self, before: int, now: int) -> set[Key]:
        """Return the endpoints that got their ports after one version and by another."""
        return {key for key, (_, since) in self._since.items() if before < since <= now}
