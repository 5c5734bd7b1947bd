"""The API keys that the activators accept: digests that replicas publish, in the key map.

The operator reads no Secret. It keeps what the ready replicas of an endpoint report in a ConfigMap
in its own namespace, so that the digests are there while the endpoint is scaled to zero. Those of
endpoints that need the activators only when a replica is gone, it remembers until then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from mistral_operator.control.activator_maps import data_of, write_map
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import (
    PORTS,
    StoredKeys,
    decode_key_map,
    encode_key_map,
    keys_to_store,
)
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.store import Store
from mistral_server.contract import KeyDigests

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 2.0
_WRITE_SECONDS = 10.0
"""Interval between two writes at least: pods decide what the map contains."""
_VERIFY_SECONDS = 30.0
"""Interval between two reads of the map, which someone may have deleted or edited."""


class KeyMapWriter:
    """Writes the key map when it changed.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator.
        store: has the pods.
        board: has what they report.
        ports: which endpoints can scale to zero, and the Secrets with their keys.
        clock: the time in seconds; it only goes forward.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        store: Store,
        board: SignalBoard,
        ports: ActivatorPorts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._store = store
        self._board = board
        self._ports = ports
        self._clock = clock
        self._entries: dict[Key, StoredKeys] = {}
        self._remembered: dict[Key, StoredKeys] = {}
        """Digests of endpoints without a port."""
        self._written: dict[str, str] = {}
        """What was written last."""
        self._live: dict[str, str] | None = None
        """Data of the ConfigMap after that; None before it was read."""
        self._next_write = self._next_read = 0.0
        self._isolation = Isolation("activator keys")

    async def run(self) -> None:
        """Write the map forever."""
        while True:
            try:
                await self.once()
            except ClusterError as error:
                log.warning("cannot write the key map of the activators: %s", error)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def once(self) -> None:
        """Write the map if it changed. The first call continues with what is there.

        Raises:
            ClusterError: it cannot be read or written.
        """
        if self._live is None or self._clock() >= self._next_read:
            await self._read()
        self._collect()
        data = encode_key_map(self._entries)
        if data == self._written or self._clock() < self._next_write:
            return
        self._next_write = self._clock() + _WRITE_SECONDS
        self._live = data_of(await write_map(self._cluster, self._namespace, names.KEY_MAP, data))
        self._written = data

    async def _read(self) -> None:
        self._next_read = self._clock() + _VERIFY_SECONDS
        body = await self._cluster.get(kinds.CONFIG_MAP, self._namespace, names.KEY_MAP)
        data = (body or {}).get("data") or {}
        if self._live is None:
            self._entries = decode_key_map(data)
        if data != self._live:
            # Someone deleted or edited it.
            self._live = self._written = data

    def _collect(self) -> None:
        """Take over what the pods report. Endpoints that are gone are left out.

        An endpoint without a port keeps its digests as long as it may get one: without a port map,
        a new operator gives ports only as it reconciles.
        """
        before, self._entries = self._entries, {}
        secrets = self._ports.keys_secrets()
        self._remember(secrets.keys())
        for key, secret in secrets.items():
            if secret == "":
                continue
            entry = before.get(key) or self._remembered.get(key)
            with self._isolation.of(key):
                if secret is not None:
                    entry = keys_to_store(entry, secret, self._reported(key, secret))
            if entry is not None:
                self._entries[key] = entry
        for key in before:
            if key in secrets or len(self._entries) >= PORTS:
                # More do not fit into the object.
                continue
            with self._isolation.of(key):
                if self._ports.may_get_one(key):
                    self._entries[key] = before[key]

    def _remember(self, with_ports: Collection[Key]) -> None:
        """Remember what the pods of endpoints without a port report: they may need one at once."""
        pods = (pod for pod in self._store.pods.values() if pod.ready and pod.keys_secret)
        endpoints = {(Key(pod.namespace, pod.owner), pod.keys_secret) for pod in pods}
        for key, secret in endpoints:
            if key not in with_ports:
                with self._isolation.of(key):
                    before = self._remembered.get(key)
                    entry = keys_to_store(before, secret, self._reported(key, secret))
                    if entry is not None:
                        self._remembered[key] = entry
                    else:
                        self._remembered.pop(key, None)
        for key in self._remembered.keys() - set(self._store.resources):
            del self._remembered[key]

    def _reported(self, key: Key, secret: str) -> list[KeyDigests | None]:
        """Return what the ready pods with a Secret report, in the order of their names."""
        pods = sorted(self._store.replicas(key), key=lambda pod: pod.name)
        ready = [one for one in pods if one.ready and one.keys_secret == secret]
        documents = self._board.documents(ready).values()
        return [one.key_digests for one in documents if one.ready]
