"""Follows the port map, the ConfigMap of the operator with the endpoint of each port."""

import asyncio
import logging

from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError
from mistral_operator.scale_to_zero import decode_port_map

log = logging.getLogger(__name__)

_PERIOD = 1.0


class PortMapReader:
    """Reads the port map and gives it to the endpoints.

    One object is read every second, which needs the permission to get it and no other. A watch
    would need one for all ConfigMaps of the namespace. Without an answer the last map stays.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator and the activators.
        endpoints: receives the map.
    """

    def __init__(self, cluster: Cluster, namespace: str, endpoints: Endpoints) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._endpoints = endpoints
        self._version: str | None = None
        self._log = QuietLog(log)

    @property
    def problem(self) -> str | None:
        """Why the map is not known, None if it is."""
        if self._version is not None:
            return None
        return (
            f"ConfigMap {self._namespace}/{names.PORT_MAP} has not been read yet; the operator"
            " creates it"
        )

    async def once(self) -> None:
        """Read the map.

        Raises:
            ClusterError: it cannot be read.
        """
        body = await self._cluster.get(kinds.CONFIG_MAP, self._namespace, names.PORT_MAP)
        if body is None or body["metadata"]["resourceVersion"] == self._version:
            return
        decoded = decode_port_map(body.get("data") or {})
        for problem in decoded.problems:
            log.warning("ConfigMap %s: %s; it is ignored", names.PORT_MAP, problem)
        self._endpoints.set_ports(decoded.entries)
        self._version = body["metadata"]["resourceVersion"]

    async def run(self) -> None:
        """Read the map forever."""
        while True:
            try:
                await self.once()
            except ClusterError as error:
                self._log.warning("unreadable", f"cannot read the port map: {error}")
            await asyncio.sleep(_PERIOD)
