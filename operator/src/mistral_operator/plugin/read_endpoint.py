"""Reads one endpoint: its resource, its pods and their nodes, its Events, what the pods report."""

import asyncio
from collections.abc import Mapping
from typing import Any

from mistral_operator.api import Status
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.api.resource import parse_spec
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.kinds import ENDPOINT_SLICE, NODE, POD, RESOURCE
from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.endpoint import Endpoint, Replica, happening
from mistral_operator.plugin.reader import Reader
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import SignalDocument

_PRODUCT = "nvidia.com/gpu.product"


class EndpointMissing(ValueError):
    """There is no such resource, or the user may not read it."""


async def resource_of(reader: Reader, key: Key) -> Mapping[str, Any]:
    """Return a resource as the API server has it.

    Raises:
        EndpointMissing: it does not exist or may not be read.
    """
    body = await reader.get(RESOURCE, key.namespace, key.name)
    if body is None:
        reason = reader.notes[0] if reader.notes else "it does not exist; `kubectl get msd` lists"
        raise EndpointMissing(
            f"{names.KIND} {key.name} in namespace {key.namespace}: {reason}"
            + ("" if reader.notes else " those of the namespace")
        )
    return body


async def read_endpoint(reader: Reader, key: Key) -> Endpoint:
    """Read an endpoint.

    Raises:
        EndpointMissing: it does not exist or may not be read.
    """
    body = await resource_of(reader, key)
    metadata = body["metadata"]
    pods = await pods_of(reader, key)
    replicas = await asyncio.gather(*(_replica(reader, pod) for pod in pods))
    events = [happening(one) for one in await reader.events(key.namespace, metadata["uid"])]
    spec, status = _spec(body), _status(body)
    return Endpoint(
        name=key.name,
        namespace=key.namespace,
        created=metadata.get("creationTimestamp", ""),
        generation=metadata.get("generation", 1),
        spec=spec,
        status=status,
        replicas=tuple(replicas),
        happenings=tuple(sorted(events, key=lambda one: one.time, reverse=True)),
        activator=await _is_behind_activator(reader, key, spec),
        terminating="deletionTimestamp" in metadata,
    )


async def pods_of(reader: Reader, key: Key) -> list[dict[str, Any]]:
    """Return the pods of an endpoint, by name."""
    pods = await reader.all(POD, key.namespace, names.selector_text(key.name)) or []
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def _spec(body: Body) -> Spec | None:
    try:
        return parse_spec(body.get("spec"))
    except InvalidResource:
        return None


def _status(body: Body) -> Status:
    return parse_status(body.get("status")).status


async def _replica(reader: Reader, pod: Body) -> Replica:
    facts = pod_facts(pod)
    node = (pod.get("spec") or {}).get("nodeName", "")
    is_running = facts.ip is not None and not facts.terminating
    return Replica(
        facts=facts,
        node=node,
        gpu=await _gpu(reader, node) if node else "",
        created=pod["metadata"].get("creationTimestamp", ""),
        signal=await signals_of(reader, facts.namespace, facts.name) if is_running else None,
    )


async def signals_of(reader: Reader, namespace: str, pod: str) -> SignalDocument | None:
    """Return what a pod reports."""
    text = await reader.text_of_pod(namespace, pod, HEALTH_PORT, "signals")
    try:
        return None if text is None else SignalDocument.read(text.encode())
    except ValueError:
        reader.note(f"pod {pod} answers at port {HEALTH_PORT} with something else than its signals")
        return None


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


async def _is_behind_activator(reader: Reader, key: Key, spec: Spec | None) -> bool:
    if spec is None or spec.autoscaling is None or spec.autoscaling.min_replicas:
        return False
    for ipv6 in (False, True):
        name = names.activator_slice(key.name, ipv6=ipv6)
        body = await reader.get(ENDPOINT_SLICE, key.namespace, name)
        if body is not None and body.get("endpoints"):
            return True
    return False
