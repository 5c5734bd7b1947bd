"""An activator as an operator sees it: an address behind its Service, and the replicas it knows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from activator_process import ACTIVATOR, SERVICE
from fault_api import Api
from mistral_operator.kube import kinds, names
from mistral_operator.scale_to_zero import decode_port_map

if TYPE_CHECKING:
    from fault_lane import Lane


def settings(namespace: str) -> dict[str, str]:
    """Return the settings of an operator that finds the activator in a namespace."""
    return {"ACTIVATOR_SERVICE": SERVICE, "NAMESPACE": namespace}


@asynccontextmanager
async def activator(lane: "Lane") -> AsyncIterator[None]:
    """Serve /signals, and announce the address. `network_of_fake_pods` has to be active."""

    async def signals(request: web.Request) -> web.Response:
        pods = await lane.pods()
        ready = [
            one
            for pod in pods
            for one in pod.get("status", {}).get("conditions", ())
            if one["type"] == "Ready" and one["status"] == "True"
        ]
        endpoint = {"namespace": lane.namespace, "name": "small", "targets": len(ready)}
        return web.json_response({"endpoints": [endpoint]})

    app = web.Application()
    app.router.add_get("/signals", signals)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, ACTIVATOR, 0)
    await site.start()
    await announce(lane.api, lane.namespace, int(runner.addresses[0][1]))
    try:
        yield
    finally:
        await runner.cleanup()


async def announce(api: Api, namespace: str, port: int) -> None:
    """Create the slice that the controllers would create for the activator's Service."""
    body = {
        "apiVersion": kinds.ENDPOINT_SLICE.api_version,
        "kind": kinds.ENDPOINT_SLICE.kind,
        "metadata": {"name": SERVICE, "labels": {names.LABEL_SERVICE: SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ACTIVATOR], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
    await api.create(kinds.ENDPOINT_SLICE, namespace, body)


async def ports(api: Api, namespace: str) -> list[int]:
    """Return the ports that the map gives to the endpoints of a namespace that has its own map."""
    body = await api.get(kinds.CONFIG_MAP, namespace, names.PORT_MAP)
    entries = decode_port_map({} if body is None else body.get("data", {})).entries
    return [port for port, one in entries.items() if one.namespace == namespace]
