"""An activator that only holds requests: `python -m bench.held_activator PORT PLACES`."""

import asyncio
import sys

from endpoint_slices import mapped
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.process import Limits, Listeners
from mistral_operator.activator.proxy import upstream_session
from mistral_operator.scale_to_zero import Terms


async def main(port: int, places: int) -> None:
    endpoints = Endpoints()
    terms = Terms(model="m", max_wait_seconds=600, max_requests=places)
    endpoints.set_ports({port: mapped(terms=terms)})
    async with upstream_session() as client:
        await Listeners(endpoints, client, Limits(request_bytes=2**30)).sync()
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*map(int, sys.argv[1:])))
