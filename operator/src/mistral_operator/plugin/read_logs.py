"""Reads the logs of all replicas of an endpoint."""

import asyncio

from mistral_operator.kube.objects import Key
from mistral_operator.plugin.read_endpoint import pods_of, resource_of
from mistral_operator.plugin.reader import Reader


async def read_logs(reader: Reader, key: Key, *, previous: bool, lines: int) -> dict[str, str]:
    """Return the end of each container's log, by pod and container.

    Raises:
        EndpointMissing: there is no such resource.
    """
    await resource_of(reader, key)
    names = [
        (str(pod["metadata"]["name"]), str(container["name"]))
        for pod in await pods_of(reader, key)
        for kind in ("initContainers", "containers")
        for container in (pod.get("spec") or {}).get(kind) or ()
    ]
    texts = await asyncio.gather(
        *(
            reader.log(key.namespace, pod, container, previous=previous, lines=lines)
            for pod, container in names
        )
    )
    return {
        f"{pod}/{container}": text
        for (pod, container), text in zip(names, texts, strict=True)
        if text
    }
