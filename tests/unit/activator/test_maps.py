"""The ConfigMaps of the operator, as the activator reads them."""

import asyncio
import logging
from typing import cast

import pytest

from api_server import ApiServer
from endpoint_slices import KEY, mapped
from mistral_operator.activator.endpoints import Endpoint, Endpoints
from mistral_operator.activator.maps import key_map_reader, port_map_reader
from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.scale_to_zero import StoredKeys, encode_key_map, encode_port_map

KEYS = StoredKeys("AAAAAAAA", "B" * 16, ("CCCCCCCC",))
PORT = 20_000


def config_map(data: dict[str, str], version: str = "1") -> dict[str, object]:
    """Return a ConfigMap as the API server does."""
    return {"metadata": {"name": "map", "resourceVersion": version}, "data": data}


def one(endpoints: Endpoints) -> Endpoint:
    """Return the endpoint at the first port."""
    endpoint = endpoints.by_port(PORT)
    assert endpoint is not None
    return endpoint


@pytest.mark.parametrize("keys_first", [True, False])
async def test_digests_reach_their_endpoint_whichever_map_is_read_first(
    api: ApiServer, cluster: Cluster, keys_first: bool
) -> None:
    endpoints = Endpoints()
    ports = port_map_reader(cluster, "mistral-system", endpoints), encode_port_map({PORT: mapped()})
    keys = key_map_reader(cluster, "mistral-system", endpoints), encode_key_map({KEY: KEYS})

    for reader, data in (keys, ports) if keys_first else (ports, keys):
        api.answer = config_map(data)
        await reader.once()
    assert one(endpoints).keys == KEYS

    api.answer = config_map({}, version="2")
    await keys[0].once()
    assert one(endpoints).keys is None
    paths = {request[1].rpartition("/")[2] for request in api.requests}
    assert paths == {names.PORT_MAP, names.KEY_MAP}


@pytest.mark.parametrize("status", [404, 403, 503])
async def test_without_an_answer_the_last_digests_stay(
    api: ApiServer, cluster: Cluster, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    endpoints = Endpoints()
    endpoints.set_ports({PORT: mapped()})
    reader = key_map_reader(cluster, "mistral-system", endpoints)
    api.answer = config_map(encode_key_map({KEY: KEYS}))
    await reader.once()

    api.status = status
    if status == 404:
        api.answer = {"kind": "Status", "message": "not found"}
    with caplog.at_level(logging.WARNING):
        await reader.once()

    assert one(endpoints).keys == KEYS
    assert (names.KEY_MAP in caplog.text) == (status != 404)


async def test_a_port_map_that_was_never_read_is_a_problem(
    api: ApiServer, cluster: Cluster
) -> None:
    reader = port_map_reader(cluster, "mistral-system", Endpoints())
    api.status, api.answer = 404, {"kind": "Status", "message": "not found"}
    await reader.once()
    assert reader.problem is not None
    assert names.PORT_MAP in reader.problem

    api.status, api.answer = 200, config_map({})
    await reader.once()
    assert reader.problem is None


async def test_an_activator_whose_callers_are_limited_waits_until_its_ports_are_open(
    api: ApiServer, cluster: Cluster
) -> None:
    """An operator of an older chart writes a map, and no policies."""
    endpoints = Endpoints()
    reader = port_map_reader(cluster, "mistral-system", endpoints, limit_callers=True)
    api.answer = config_map(encode_port_map({PORT: mapped()}))
    await reader.once()
    assert "does not say yet that callers are limited" in (reader.problem or "")
    assert endpoints.ports() == {PORT}

    body = config_map(encode_port_map({PORT: mapped()}), version="2")
    metadata = {"name": "map", "resourceVersion": "2"}
    api.answer = body | {"metadata": metadata | {"annotations": {names.CALLERS: names.LIMITED}}}
    await reader.once()
    assert reader.problem is None


async def test_an_earlier_response_that_comes_later_replaces_no_later_one() -> None:
    class Slow:
        """A cluster whose first response takes longer than the second one."""

        delays = iter([(5, 0.05), (6, 0.0)])

        async def get(self, *_: object) -> dict[str, object]:
            version, delay = next(self.delays)
            await asyncio.sleep(delay)
            return config_map(encode_port_map({PORT + version: mapped()}), version=str(version))

    endpoints = Endpoints()
    reader = port_map_reader(cast("Cluster", Slow()), "mistral-system", endpoints)

    await asyncio.gather(reader.once(), reader.once())

    assert (reader.version, endpoints.ports()) == (6, {PORT + 6})
