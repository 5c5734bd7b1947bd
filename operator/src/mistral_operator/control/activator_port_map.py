"""Writes the port map of the activators: the ConfigMap that says which port is whose.

Before that it has the NetworkPolicies written that say who may call there.

The map is in the operator's own namespace, where no tenant can write. A new operator continues with
the ports in it.
"""

import asyncio
import itertools
import logging

from mistral_operator.control.activator_maps import data_of, write_map
from mistral_operator.control.activator_policies import ActivatorPolicies
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.free_ports import decode_ports, encode_ports
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.objects import Body, Key
from mistral_operator.scale_to_zero import encode_port_map
from mistral_operator.watch.index import version_of

log = logging.getLogger(__name__)

_UNWRITTEN = "cannot write the port map of the activators: %s"
_RETRY_SECONDS = 10.0
_VERIFY_EVERY = 3
"""Rounds after which the map is read: someone may have deleted or edited it."""


class PortMapWriter:
    """Writes the port map when it changed.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator.
        ports: the map, and who may call at each port.
        policies: limits who may call; None if everyone may.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        ports: ActivatorPorts,
        policies: ActivatorPolicies | None = None,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._ports = ports
        self._policies = policies
        self._annotations = {} if policies is None else {names.CALLERS: names.LIMITED}
        self._written: dict[str, str] | None = None
        """Data of the ConfigMap after the last write."""
        self._is_annotated = False
        """Whether the ConfigMap says truly whether callers are limited."""
        self._version = -1
        self._lock = asyncio.Lock()

    async def restore(self) -> None:
        """Continue with the ports that the map has.

        Raises:
            ClusterError: it cannot be read.
        """
        body = await self._cluster.get(kinds.CONFIG_MAP, self._namespace, names.PORT_MAP)
        self._written = None if body is None else body.get("data") or {}
        self._is_annotated = self._has_annotation(body)
        annotations = {} if body is None else body["metadata"].get("annotations") or {}
        resting = decode_ports(annotations.get(names.ANNOTATION_RESTING, ""))
        self._ports.restore(self._written or {}, resting)
        if body is not None:
            self._ports.published.update(self._ports.entries, version_of(body))

    async def begin(self) -> None:
        """Continue with the ports that the map has, and write it if it does not exist.

        A map that the API server rejects does not keep the operator from starting.

        Raises:
            ClusterError: it cannot be read.
            Unavailable: it cannot be written now.
        """
        await self.restore()
        try:
            await self.publish()
        except Unavailable:
            raise
        except ClusterError as error:
            log.warning(_UNWRITTEN, error)

    async def publish_for(self, key: Key) -> None:
        """Write the map, before a slice leads requests to the port of an endpoint.

        Without an answer, or with a map that the API server rejects, endpoints that are already in
        it go on: another one may be the cause.

        Raises:
            ClusterError: it cannot be written, and does not have the port of the endpoint.
        """
        try:
            await self.publish()
        except ClusterError:
            if self._written is None or not self._ports.is_in(self._written, key):
                raise

    async def publish(self) -> None:
        """Write the map if it changed or does not exist. Calls at the same time share a write.

        The policies come first: a port that the map gives to another endpoint must not be open to
        the callers of the one before, and none that is in use may be closed to its own.

        Raises:
            ClusterError: it cannot be written.
        """
        async with self._lock:
            version = self._ports.version
            if version == self._version and self._written is not None:
                return
            entries, callers = self._ports.entries, self._ports.callers
            data = encode_port_map(entries)
            if self._policies is not None:
                await self._policies.publish(callers)
            if data != self._written or not self._is_annotated:
                resting = encode_ports(self._ports.resting)
                noted = {names.ANNOTATION_RESTING: resting} if resting else {}
                live = await write_map(
                    *(self._cluster, self._namespace, names.PORT_MAP, data),
                    {**self._annotations, **noted},
                )
                self._written = data_of(live)
                self._is_annotated = True
                self._ports.published.update(entries, version_of(live))
            self._version = version

    async def verify(self) -> None:
        """Write the map and the policies again if someone deleted or edited them.

        Raises:
            ClusterError: it cannot be read or written.
        """
        body = await self._cluster.get(kinds.CONFIG_MAP, self._namespace, names.PORT_MAP)
        if body is None or (body.get("data") or {}) != self._written:
            self._written = None
        self._is_annotated = self._has_annotation(body)
        async with self._lock:
            changed = self._policies is not None and await self._policies.were_changed()
            if changed or not self._is_annotated:
                self._version = -1
        await self.publish()

    def _has_annotation(self, body: Body | None) -> bool:
        annotations = {} if body is None else body["metadata"].get("annotations") or {}
        return annotations.get(names.CALLERS) == self._annotations.get(names.CALLERS)

    async def run(self) -> None:
        """Remove the ports of endpoints that are gone, which no reconciliation does."""
        for number in itertools.count(1):
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                await (self.publish() if number % _VERIFY_EVERY else self.verify())
            except ClusterError as error:
                log.warning(_UNWRITTEN, error)
