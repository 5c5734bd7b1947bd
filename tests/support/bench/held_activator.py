"""An activator that only holds requests: `python -m bench.held_activator PORT PLACES`."""

import asyncio
import sys

from endpoint_slices import our_slice
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.process import Limits, Listeners
from mistral_operator.activator.proxy import upstream_session
from mistral_operator.kube import kinds
from mistral_operator.scale_to_zero import Terms


async def main(port: int, places: int) -> None:
    endpoints = Endpoints()
    terms = Terms(model="m", max_wait_seconds=600, max_requests=places).model_dump_json()
    endpoints.on_event(
        kinds.ENDPOINT_SLICE, our_slice("127.0.0.1", port=port, terms=terms), deleted=False
    )
    async with upstream_session() as client:
        await Listeners(endpoints, client, Limits(request_bytes=2**30)).sync()
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*map(int, sys.argv[1:])))
