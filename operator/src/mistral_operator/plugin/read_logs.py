"""Reads the logs of all replicas of an endpoint."""

import asyncio
from typing import NamedTuple

from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.read_endpoint import pods_of, resource_of
from mistral_operator.plugin.reader import Reader


class Logs(NamedTuple):
    """The logs of an endpoint, by pod and container."""

    texts: dict[str, str]
    unread: list[str]
    """Those that could not be read."""
    absent: list[str]
    """Containers that did not run (yet)."""


async def read_logs(reader: Reader, key: Key, *, previous: bool, lines: int) -> Logs:
    """Return the end of each container's log.

    Raises:
        EndpointMissing: there is no such resource.
    """
    await resource_of(reader, key)
    names = [
        (str(pod["metadata"]["name"]), container)
        for pod in await pods_of(reader, key) or ()
        for container in containers_of(pod)
    ]
    read = await asyncio.gather(
        *(
            reader.log(key.namespace, pod, container, previous=previous, lines=lines)
            for pod, container in names
        )
    )
    named = {f"{pod}/{container}": log for (pod, container), log in zip(names, read, strict=True)}
    return Logs(
        texts={name: log.text for name, log in named.items() if log.exists},
        unread=[name for name, log in named.items() if log.exists is None],
        absent=[name for name, log in named.items() if log.exists is False],
    )


def containers_of(pod: Body) -> list[str]:
    """Return the names of the containers of a pod, in the order in which they start."""
    spec = pod.get("spec") or {}
    return [
        str(container["name"])
        for kind in ("initContainers", "containers")
        for container in spec.get(kind) or ()
    ]
