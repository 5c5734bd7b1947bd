"""Changes that a user makes: restart, suspend, resume. Each edits what the documents say."""

import re

from mistral_operator.kube import names
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.kinds import DEPLOYMENT, RESOURCE, Kind
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.read_endpoint import EndpointMissing, resource_of
from mistral_operator.plugin.reader import Reader, name_of_kind, sentence

_MANAGER = "kubectl-msd"
"""Field manager: the operator's own would take the edit for one of its own."""

_NO_RIGHT = re.compile(r"\bcannot \w+ resource\b")
"""What the API server says of a missing right. Admission policies also reject with 403, each with a
reason of its own."""

_JSON_PATCH = "application/json-patch+json"
_RESTARTED = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
"""What `kubectl rollout restart` writes; the operator leaves it."""


async def set_suspended(reader: Reader, key: Key, *, suspended: bool) -> str:
    """Stop all replicas of an endpoint, or start them again; return what was done.

    Raises:
        ClusterError: the API server rejects it.
        EndpointMissing: there is no such resource.
    """
    body = await resource_of(reader, key)
    if bool((body.get("spec") or {}).get("suspend")) == suspended:
        return f"{key.name}: spec.suspend is already {'true' if suspended else 'false'}"
    await _patch(reader, RESOURCE, key, "/spec/suspend", suspended)
    if suspended:
        return f"{key.name}: spec.suspend is true; running requests finish, and all replicas stop"
    return f"{key.name}: spec.suspend is false; the replicas start again"


async def restart(reader: Reader, key: Key, now: str) -> str:
    """Replace the pods of an endpoint one at a time; return what was done.

    Raises:
        ClusterError: the API server rejects it.
        EndpointMissing: there is no such resource, it has no Deployment, or that may not be read.
    """
    body = await resource_of(reader, key)
    endpoint = f"{names.KIND} {key.name} in namespace {key.namespace}"
    deployment, unread = await reader.find(DEPLOYMENT, key.namespace, key.name)
    if unread:
        raise EndpointMissing(f"{endpoint} is not restarted: {unread}")
    labels = {} if deployment is None else deployment["metadata"].get("labels") or {}
    if deployment is None or names.owner_of(labels) != key.name:
        raise EndpointMissing(
            f"{endpoint} has no Deployment yet: see `kubectl msd status {key.name}"
            f" -n {key.namespace}`"
        )
    if (deployment.get("spec") or {}).get("replicas") == 0:
        return f"{key.name}: nothing to restart: its Deployment has 0 replicas"
    await _patch(reader, DEPLOYMENT, key, _RESTARTED, now)
    replicas = (body.get("status") or {}).get("readyReplicas")
    pause = "; it has one replica, so nothing is served until the new one is ready"
    return f"{key.name}: the pods are replaced one at a time{pause if replicas == 1 else ''}"


async def _patch(reader: Reader, kind: Kind, key: Key, path: str, value: object) -> None:
    operations = [{"op": "add", "path": path, "value": value}]
    try:
        await reader.cluster.request(
            "PATCH",
            kind.path(key.namespace, key.name),
            {"fieldManager": _MANAGER},
            operations,
            _JSON_PATCH,
        )
    except ClusterError as error:
        if error.status == 403 and _NO_RIGHT.search(error.reason):
            reason = sentence("patch", name_of_kind(kind), key.namespace, error)
            raise ClusterError(403, reason, "PATCH") from error
        raise
