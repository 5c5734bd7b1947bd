"""Reads one endpoint: its resource, its pods and their nodes, its Events, what the pods report."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mistral_operator.api import Status
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.api.resource import parse_spec
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.kinds import ENDPOINT_SLICE, NODE, POD, RESOURCE
from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.endpoint import Endpoint, Happening, Replica, happening
from mistral_operator.plugin.last_edit import last_edit
from mistral_operator.plugin.read_signals import read_signals
from mistral_operator.plugin.reader import Reader
from mistral_operator.watch.facts import pod_facts

_PRODUCT = "nvidia.com/gpu.product"


class EndpointMissing(ValueError):
    """There is no such resource, or the user may not read it."""


async def resource_of(reader: Reader, key: Key) -> Mapping[str, Any]:
    """Return a resource as the API server has it.

    Raises:
        EndpointMissing: it does not exist or may not be read.
    """
    body, unread = await reader.find(RESOURCE, key.namespace, key.name)
    if body is None:
        reason = unread or (
            f"it does not exist; `kubectl get msd -n {key.namespace}` lists those of the namespace"
        )
        raise EndpointMissing(f"{names.KIND} {key.name} in namespace {key.namespace}: {reason}")
    return body


async def read_endpoint(reader: Reader, key: Key) -> Endpoint:
    """Read an endpoint.

    Raises:
        EndpointMissing: it does not exist or may not be read.
    """
    body = await resource_of(reader, key)
    metadata, spec = body["metadata"], _spec(body)
    pods, prefetching = await asyncio.gather(pods_of(reader, key), _prefetch_pods(reader, key))
    replicas, prefetch_pods, events, activator = await asyncio.gather(
        _replicas(reader, key, pods),
        _replicas(reader, key, prefetching),
        reader.events(key.namespace, metadata["uid"]),
        _is_behind_activator(reader, key, spec),
    )
    return Endpoint(
        name=key.name,
        namespace=key.namespace,
        created=metadata.get("creationTimestamp", ""),
        generation=metadata.get("generation", 1),
        spec=spec,
        status=_status(body),
        replicas=replicas,
        prefetch_pods=prefetch_pods,
        happenings=None if events is None else _newest_first(events),
        activator=activator,
        terminating="deletionTimestamp" in metadata,
        edit=last_edit(body),
    )


async def pods_of(reader: Reader, key: Key) -> list[dict[str, Any]] | None:
    """Return the pods of an endpoint, by name; None if they may not be read."""
    pods = await reader.all(POD, key.namespace, names.selector_text(key.name))
    return None if pods is None else sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


async def _prefetch_pods(reader: Reader, key: Key) -> list[dict[str, Any]] | None:
    """Return the pod that fetches the model in advance; None if it may not be read."""
    return await reader.all(POD, key.namespace, names.prefetch_selector_text(key.name))


def _spec(body: Body) -> Spec | None:
    try:
        return parse_spec(body.get("spec"))
    except InvalidResource:
        return None


def _status(body: Body) -> Status:
    return parse_status(body.get("status")).status


def _newest_first(events: Iterable[Body]) -> tuple[Happening, ...]:
    return tuple(sorted(map(happening, events), key=lambda one: one.time, reverse=True))


async def _replicas(
    reader: Reader, key: Key, pods: Iterable[Body] | None
) -> tuple[Replica, ...] | None:
    """Return the replicas, with what is known of their nodes and what they report."""
    if pods is None:
        return None
    facts = [(pod_facts(pod), pod) for pod in pods]
    running = [one.name for one, _ in facts if one.ip is not None and not one.terminating]
    gpus, signals = await asyncio.gather(
        _gpus(reader, {_node_of(pod) for pod in pods} - {""}),
        read_signals(reader, key.namespace, running),
    )
    return tuple(
        Replica(
            facts=one,
            node=_node_of(pod),
            gpu=gpus.get(_node_of(pod), ""),
            created=pod["metadata"].get("creationTimestamp", ""),
            signal=signals.get(one.name),
        )
        for one, pod in facts
    )


def _node_of(pod: Body) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


async def _gpus(reader: Reader, nodes: Collection[str]) -> dict[str, str]:
    texts = await asyncio.gather(*(_gpu(reader, node) for node in nodes))
    return dict(zip(nodes, texts, strict=True))


async def _gpu(reader: Reader, node: str) -> str:
    """Return the GPUs of a node, such as `8 NVIDIA-H200`."""
    body = await reader.get(NODE, "", node)
    if body is None:
        return ""
    allocatable = (body.get("status") or {}).get("allocatable") or {}
    counts = [
        f"{count} {body['metadata'].get('labels', {}).get(_PRODUCT, resource)}"
        for resource, count in sorted(allocatable.items())
        if resource.startswith("nvidia.com/") and str(count) != "0"
    ]
    return ", ".join(counts)


async def _is_behind_activator(reader: Reader, key: Key, spec: Spec | None) -> bool | None:
    """Return whether the Service leads to the activator; None if that may not be read."""
    if spec is None or spec.autoscaling is None or spec.autoscaling.min_replicas:
        return False
    for ipv6 in (False, True):
        name = names.activator_slice(key.name, ipv6=ipv6)
        body, unread = await reader.find(ENDPOINT_SLICE, key.namespace, name)
        if unread:
            return None
        if body is not None and body.get("endpoints"):
            return True
    return False
