"""An activator says which version of the port map is in force, and catches up when it is asked."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from endpoint_slices import mapped
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.maps import port_map_reader
from mistral_operator.activator.port_map import PortMap
from mistral_operator.activator.process import admin_app
from mistral_operator.kube.client import Cluster
from mistral_operator.process.http_server import Health
from mistral_operator.scale_to_zero import ActivatorDocument, encode_port_map


@dataclass
class MappedCluster:
    """A cluster with a port map, and the ports that an activator listens on."""

    version: int = 5
    reads: int = 0
    listening: list[set[int]] = field(default_factory=list)
    endpoints: Endpoints = field(default_factory=Endpoints)

    async def get(self, *_: object) -> dict[str, Any]:
        self.reads += 1
        metadata = {"resourceVersion": str(self.version)}
        return {"metadata": metadata, "data": encode_port_map({20_000 + self.version: mapped()})}

    async def sync(self) -> None:
        self.listening.append(self.endpoints.ports())

    def port_map(self) -> PortMap:
        reader = port_map_reader(cast("Cluster", self), "mistral-system", self.endpoints)
        return PortMap(reader, self.sync)


async def test_a_newer_map_is_read_and_its_ports_are_open_before_the_answer() -> None:
    cluster = MappedCluster()
    port_map = cluster.port_map()

    await port_map.catch_up(5)

    assert (port_map.open_version, cluster.listening) == (5, [{20_005}])


async def test_a_map_that_is_in_force_is_not_read_again() -> None:
    cluster = MappedCluster()
    port_map = cluster.port_map()
    await port_map.catch_up(5)

    await port_map.catch_up(5)
    await port_map.catch_up(0)

    assert cluster.reads == 1


async def test_requests_for_a_version_that_does_not_exist_cause_few_reads() -> None:
    cluster = MappedCluster()
    port_map = cluster.port_map()

    for _ in range(20):
        await port_map.catch_up(10**12)

    assert (cluster.reads, port_map.open_version) == (1, 5)


async def test_a_map_that_was_only_read_is_not_in_force() -> None:
    cluster = MappedCluster()
    port_map = cluster.port_map()

    await port_map.reader.once()
    assert port_map.open_version == 0

    await port_map.listen()
    assert port_map.open_version == 5


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ("", 0),
        ("?portMap=5", 5),
        ("?portMap=-1", 0),
        ("?portMap=x", 0),
        ("?portMap=0", 0),
        (f"?portMap={'9' * 5000}", 0),
    ],
)
async def test_the_signals_have_the_version_that_was_requested(query: str, version: int) -> None:
    cluster = MappedCluster()
    app = admin_app(Health(), cluster.endpoints, cluster.port_map())

    async with TestClient(TestServer(app)) as client, client.get(f"/signals{query}") as response:
        document = ActivatorDocument.model_validate_json(await response.read())

    assert document.port_map == version
