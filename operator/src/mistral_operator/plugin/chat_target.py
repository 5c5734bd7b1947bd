"""Which port `kubectl msd chat` forwards: of a replica, or of the activator while none is ready."""

from typing import NamedTuple

from mistral_operator.api import ConditionType, Reason
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.kinds import ENDPOINT_SLICE, POD
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.reader import Reader
from mistral_operator.scale_to_zero import can_scale_to_zero

_ACTIVATOR = f"{names.LABEL_NAME}={names.MANAGED_BY}-activator"
"""Selects the activator's pods, without the value nameOverride of the chart."""


class Unreachable(ValueError):
    """No port leads to the endpoint; the message says why, and what to do."""


class Target(NamedTuple):
    """A port that kubectl can forward."""

    namespace: str
    name: str
    """Of a Service or a pod, as kubectl takes it."""
    port: int
    notice: str = ""
    """What to know before the first answer."""
    cause: str = ""
    """What to add if it does not answer: the likely cause, or another way."""


class _Route(NamedTuple):
    """Where a Service leads while no replica is ready."""

    addresses: frozenset[str]
    port: int


async def target_of(reader: Reader, key: Key, body: Body, spec: Spec) -> Target:
    """Return the port to forward.

    Args:
        reader: of the cluster.
        key: of the endpoint.
        body: the resource.
        spec: the same, parsed.

    Raises:
        Unreachable: there is none.
    """
    if spec.suspend:
        raise Unreachable(
            f"{key.name} is suspended, and nothing answers: `kubectl msd resume {key.name}"
            f" -n {key.namespace}` starts its replicas"
        )
    why, idle = _why_not_ready(key, body)
    service = Target(key.namespace, f"service/{key.name}", HTTP_PORT, cause=why)
    if not can_scale_to_zero(spec):
        return service
    route, unread = await _route(reader, key)
    if route is None and not (unread and idle):
        return service
    way = _how_to_start(key, body)
    if route is None:
        raise Unreachable(f"{why}, and its activator is not known: {unread}; {way}")
    why = why or f"no replica of {key.name} is ready"
    pods = await reader.all(POD, None, _ACTIVATOR)
    pod = next((one for one in pods or () if _addresses(one) & route.addresses), None)
    if pod is None:
        unseen = f"no pod with the label {_ACTIVATOR} has its address"
        reason = unseen if pods is not None else reader.notes[-1]
        raise Unreachable(f"{why}, and its activator cannot be reached from here: {reason}; {way}")
    return Target(
        pod["metadata"]["namespace"],
        f"pod/{pod['metadata']['name']}",
        route.port,
        notice=f"{why}: {_what_happens(spec, idle=idle)}",
        cause=way,
    )


def _why_not_ready(key: Key, body: Body) -> tuple[str, bool]:
    """Return why no replica answers, as far as the operator has said it, and whether it is idle."""
    conditions = parse_status(body.get("status")).status.conditions
    ready = next((one for one in conditions if one.type == ConditionType.READY), None)
    if ready is not None and ready.reason == Reason.ASLEEP:
        return f"{key.name} is scaled to zero", True
    if ready is None or ready.status == "True":
        return "", False
    return f"{key.name} is not ready ({ready.reason}: {ready.message})", False


def _what_happens(spec: Spec, *, idle: bool) -> str:
    waits = spec.autoscaling.activation.max_wait_seconds if spec.autoscaling else 0
    starts = "starts a replica, and " if idle else ""
    return f"the request {starts}is queued until one is ready, for at most {waits} seconds"


def _how_to_start(key: Key, body: Body) -> str:
    url = (body.get("status") or {}).get("url") or f"http://{key.name}.{key.namespace}.svc:8000/v1"
    return (
        f"a POST to {url}/chat/completions from a pod in the cluster starts a replica, or set"
        " spec.autoscaling.minReplicas to 1"
    )


async def _route(reader: Reader, key: Key) -> tuple[_Route | None, str]:
    """Return where the Service leads, None if to its replicas; and why that may not be read."""
    for ipv6 in (False, True):
        name = names.activator_slice(key.name, ipv6=ipv6)
        body, unread = await reader.find(ENDPOINT_SLICE, key.namespace, name)
        if unread:
            return None, unread
        addresses = [
            address
            for endpoint in (body or {}).get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
        ]
        ports = [one.get("port") for one in (body or {}).get("ports") or ()]
        if addresses and ports:
            return _Route(frozenset(addresses), int(ports[0])), ""
    return None, ""


def _addresses(pod: Body) -> set[str]:
    status = pod.get("status") or {}
    several = [one.get("ip") for one in status.get("podIPs") or ()]
    return {str(one) for one in (status.get("podIP"), *several) if one}
