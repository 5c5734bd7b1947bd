"""Reads twice what the replicas of an endpoint do."""

import asyncio
import time

from mistral_operator.api.parsed_status import parse_status
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.load import Load, Sample
from mistral_operator.plugin.read_endpoint import pods_of, resource_of
from mistral_operator.plugin.read_signals import read_signals
from mistral_operator.plugin.reader import Reader


async def read_load(reader: Reader, key: Key, seconds: float) -> Load:
    """Return what each pod reports now and after some seconds.

    Raises:
        EndpointMissing: there is no such resource.
    """
    body = await resource_of(reader, key)
    pods = await pods_of(reader, key)
    scaling = parse_status(body.get("status")).status.autoscaling
    if pods is None:
        return Load(None, scaling)
    running = [
        str(pod["metadata"]["name"]) for pod in pods if (pod.get("status") or {}).get("podIP")
    ]
    before, start = await read_signals(reader, key.namespace, running), time.monotonic()
    await asyncio.sleep(seconds if before else 0)
    after, elapsed = await read_signals(reader, key.namespace, before), time.monotonic() - start
    samples = [Sample(pod, before.get(pod), after.get(pod), elapsed) for pod in running]
    return Load(samples, scaling)
