"""Follows the ConfigMaps of the operator: the endpoint of each port, and digests of API keys."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError
from mistral_operator.scale_to_zero import decode_key_map, decode_port_map

log = logging.getLogger(__name__)

_PORTS_PERIOD = 1.0
_KEYS_PERIOD = 5.0
"""The operator writes this map every ten seconds at most."""


class MapReader:
    """Reads one ConfigMap again and again.

    Each read needs the permission to get this object and no other. A watch would need one for all
    ConfigMaps of the namespace. Without an answer the last data stay.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator and the activators.
        name: name of the ConfigMap.
        period: interval between two reads in seconds.
        on_data: receives its data when they changed.
        annotated: annotation that it has to have before it counts as known, with the value.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        period: float,
        on_data: Callable[[Mapping[str, str]], None],
        annotated: tuple[str, str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._period = period
        self._on_data = on_data
        self._annotated = annotated
        self._is_annotated = annotated is None
        self._version: str | None = None
        self._lock = asyncio.Lock()
        self._log = QuietLog(log)

    @property
    def version(self) -> int:
        """Resource version of the map that was read last; 0 if none was."""
        return int(self._version or 0)

    @property
    def problem(self) -> str | None:
        """Why the map is not known, None if it is."""
        name = f"ConfigMap {self._namespace}/{self._name}"
        if self._version is None:
            return f"{name} has not been read yet; the operator creates it"
        if not self._is_annotated:
            return f"{name} does not say yet that callers are limited; the operator writes that"
        return None

    async def once(self) -> None:
        """Read the map; a failure is logged."""
        async with self._lock:  # or an earlier response that comes later would replace a later one
            await self._read()

    async def _read(self) -> None:
        try:
            body = await self._cluster.get(kinds.CONFIG_MAP, self._namespace, self._name)
        except ClusterError as error:
            self._log.warning("unreadable", f"cannot read ConfigMap {self._name}: {error}")
            return
        if body is None or body["metadata"]["resourceVersion"] == self._version:
            return
        self._on_data(body.get("data") or {})
        if self._annotated is not None:
            name, value = self._annotated
            self._is_annotated = (body["metadata"].get("annotations") or {}).get(name) == value
        self._version = body["metadata"]["resourceVersion"]

    async def run(self) -> None:
        """Read the map forever."""
        while True:
            await self.once()
            await asyncio.sleep(self._period)


def port_map_reader(
    cluster: Cluster, namespace: str, endpoints: Endpoints, *, limit_callers: bool = False
) -> MapReader:
    """Return what gives the port map to the endpoints.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator and the activators.
        endpoints: receives the map.
        limit_callers: whether the map is known only when the operator limits the callers: until
            then, the policy of the chart closes every port.
    """
    annotated = (names.CALLERS, names.LIMITED) if limit_callers else None

    def on_data(data: Mapping[str, str]) -> None:
        decoded = decode_port_map(data)
        for problem in decoded.problems:
            log.warning("ConfigMap %s: %s; it is ignored", names.PORT_MAP, problem)
        endpoints.set_ports(decoded.entries)

    return MapReader(cluster, namespace, names.PORT_MAP, _PORTS_PERIOD, on_data, annotated)


def key_map_reader(cluster: Cluster, namespace: str, endpoints: Endpoints) -> MapReader:
    """Return what gives the digests of API keys to the endpoints."""

    def on_data(data: Mapping[str, str]) -> None:
        endpoints.set_keys(decode_key_map(data))

    return MapReader(cluster, namespace, names.KEY_MAP, _KEYS_PERIOD, on_data)
