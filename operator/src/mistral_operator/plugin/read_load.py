"""Reads twice what the replicas of an endpoint do."""

import asyncio
import time

from mistral_operator.api.autoscaling import AutoscalingStatus
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.load import Sample
from mistral_operator.plugin.read_endpoint import pods_of, resource_of, signals_of
from mistral_operator.plugin.reader import Reader
from mistral_server.contract import SignalDocument


async def read_load(
    reader: Reader, key: Key, seconds: float
) -> tuple[list[Sample], AutoscalingStatus | None]:
    """Return what each pod reports now and after some seconds.

    Raises:
        EndpointMissing: there is no such resource.
    """
    body = await resource_of(reader, key)
    pods = [
        str(pod["metadata"]["name"])
        for pod in await pods_of(reader, key)
        if (pod.get("status") or {}).get("podIP")
    ]
    before, start = await _signals(reader, key, pods), time.monotonic()
    await asyncio.sleep(seconds if pods else 0)
    after, elapsed = await _signals(reader, key, pods), time.monotonic() - start
    samples = [
        Sample(pod, first, last, elapsed)
        for pod, first, last in zip(pods, before, after, strict=True)
    ]
    return samples, parse_status(body.get("status")).status.autoscaling


async def _signals(reader: Reader, key: Key, pods: list[str]) -> list[SignalDocument | None]:
    return await asyncio.gather(*(signals_of(reader, key.namespace, pod) for pod in pods))
