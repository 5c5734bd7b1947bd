"""Makes the objects that tests need, each valid by itself and changed by keywords.

The bodies have the shape in which a kubelet and the controllers write them, so that a test states
only what it is about.
"""

import itertools
from collections.abc import Iterable
from typing import Any

from mistral_operator.api import (
    Resource,
    parse_resource,
)
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.render import KubernetesObject, RenderContext, children
from mistral_operator.watch.index import Index
from mistral_operator.watch.live_children import LiveChild, live_child
from mistral_server.contract import FailureClass, SignalDocument, Stage, TerminationReport

Object = dict[str, Any]

NAME = "small"
NAMESPACE = "models"
UID = "0b7c6a1e-6f2f-4c55-9a1c-5e3f1f2d0001"
SERVER_IMAGE = "registry.example.com/mistral-small-server:1.0"
GPU = "nvidia.com/gpu"
NOW = "2026-03-01T12:00:00Z"
EARLIER = "2026-03-01T11:00:00Z"

CONTEXT = RenderContext(SERVER_IMAGE)

_versions = itertools.count(1000)


ON_CPUS: Object = {"device": "cpu", "engine": {"kvCache": {"memory": "4Gi"}}}
"""The least that a spec without GPUs has to say."""


def resource_body(spec: Object | None = None, **metadata: Any) -> Object:
    """Return a resource as the API server sends it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": UID,
            "generation": 1,
            "resourceVersion": next_version(),
            **metadata,
        },
        "spec": spec or {},
    }


def resource(spec: Object | None = None, **metadata: Any) -> Resource:
    """Return a parsed resource."""
    return parse_resource(resource_body(spec, **metadata))


def next_version() -> str:
    """Return a resource version that is newer than all before."""
    return str(next(_versions))


def merged(base: Object, changes: Object) -> Object:
    """Return a deep copy of an object with changes merged into it."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old or {}, value) if both else value
    return result


# --- Pods -----------------------------------------------------------------------------------------


def pod_body(
    *containers: Object, name: str = "small-1", status: Object | None = None, **metadata: Any
) -> Object:
    """Return a pod; `containers` are statuses made by `container` and `fetch_container`."""
    default_status: Object = {
        "phase": "Running",
        "podIP": "10.1.0.7",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [one for one in containers if one["name"] == "fetch"],
        "containerStatuses": [one for one in containers if one["name"] != "fetch"],
    }
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "labels": {**names.labels(NAME), "pod-template-hash": "5c9d8"},
            "resourceVersion": next_version(),
            **metadata,
        },
        "status": merged(default_status, status or {}),
    }


def ready_pod(name: str = "small-1", **metadata: Any) -> Object:
    """Return a pod that answers chats."""
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": "True"},
    ]
    status = {"conditions": conditions}
    return pod_body(container(ready=True, started=True), name=name, status=status, **metadata)


def unschedulable_pod(message: str) -> Object:
    """Return a pod for which the scheduler finds no node."""
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }
    return pod_body(status={"phase": "Pending", "podIP": None, "conditions": [condition]})


def unscheduled_pod(*, scheduler: str = "default-scheduler", gates: Iterable[str] = ()) -> Object:
    """Return a pod that no scheduler has looked at."""
    spec: Object = {"schedulerName": scheduler}
    conditions = []
    if gates:
        spec["schedulingGates"] = [{"name": one} for one in gates]
        conditions = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    status = {"phase": "Pending", "podIP": None, "conditions": conditions}
    return {**pod_body(status=status), "spec": spec}


def failed_pod(reason: str, message: str, name: str = "small-1") -> Object:
    """Return a pod that the kubelet terminated as a whole, such as an evicted one."""
    return pod_body(name=name, status={"phase": "Failed", "reason": reason, "message": message})


def container(name: str = names.CONTAINER, **fields: Any) -> Object:
    """Return the status of a container that runs and has not started to answer."""
    return {
        "name": name,
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"running": {"startedAt": EARLIER}},
        "lastState": {},
        **fields,
    }


def waiting_container(reason: str, message: str = "", **fields: Any) -> Object:
    """Return the status of a container that waits."""
    return container(state={"waiting": {"reason": reason, "message": message}}, **fields)


def fetch(status: Object) -> Object:
    """Return a container's status as one of the init container that fetches the model."""
    return {**status, "name": names.FETCH_CONTAINER}


def ended(exit_code: int, reason: str = "Error", message: str = "", **fields: str) -> Object:
    """Return the state of a container that has exited."""
    terminated = {"exitCode": exit_code, "reason": reason, "message": message, **fields}
    return {"terminated": terminated}


def crashed_container(
    exit_code: int, reason: str = "Error", message: str = "", **fields: Any
) -> Object:
    """Return the status of a container in the kubelet's back-off after it exited."""
    return waiting_container(
        "CrashLoopBackOff",
        "back-off 40s restarting failed container=server pod=small-1_models(uid-of-small-1)",
        **{"restartCount": 3, "lastState": ended(exit_code, reason, message), **fields},
    )


def termination(failure: FailureClass, message: str, evidence: str = "") -> str:
    """Return a termination message as the supervisor writes it."""
    report = TerminationReport(
        failure=failure, stage=Stage.LOADING, message=message, evidence=evidence
    )
    return report.to_bytes().decode()


def signal(stage: Stage = Stage.SERVING, **fields: Any) -> SignalDocument:
    """Return what a pod says of itself."""
    document = {"stage": stage, "stage_seconds": 1.0, "ready": stage is Stage.SERVING, **fields}
    return SignalDocument.model_validate(document)


# --- Deployments and nodes ------------------------------------------------------------------------


def deployment_body(
    desired: int = 1,
    *,
    replicas: int | None = None,
    updated: int | None = None,
    ready: int = 0,
    conditions: tuple[Object, ...] = (),
    **metadata: Any,
) -> Object:
    """Return a Deployment that its controller has seen, with all its pods up to date."""
    exist = desired if replicas is None else replicas
    status = {
        "observedGeneration": 1,
        "replicas": exist,
        "updatedReplicas": exist if updated is None else updated,
        "readyReplicas": ready,
        "conditions": list(conditions),
    }
    return {
        "metadata": {"name": NAME, "namespace": NAMESPACE, "generation": 1, **metadata},
        "spec": {"replicas": desired},
        # Counts of zero are left out of a status.
        "status": {key: value for key, value in status.items() if value},
    }


def replica_failure(message: str) -> Object:
    """Return the Deployment condition that says why pods cannot be created."""
    return {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": message,
    }


def node_body(
    name: str = "gpu-0", gpus: int = 8, *, memory_mib: int | None = None, **changes: Any
) -> Object:
    """Return a node with GPUs; `memory_mib` is what GPU feature discovery would label it with."""
    labels = {"kubernetes.io/hostname": name}
    if memory_mib is not None:
        labels["nvidia.com/gpu.memory"] = str(memory_mib)
    body: Object = {
        "metadata": {"name": name, "labels": labels, "resourceVersion": next_version()},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "63770m", "memory": "1056238712Ki", "pods": "110"}
            | ({GPU: str(gpus)} if gpus else {})
        },
    }
    return merged(body, changes)


# --- Children -------------------------------------------------------------------------------------


def live(rendered: KubernetesObject, **metadata: Any) -> Object:
    """Return a rendered child as the API server would send it back."""
    return merged(
        rendered,
        {
            "metadata": {
                "uid": f"uid-of-{rendered['kind']}-{rendered['metadata']['name']}",
                "resourceVersion": next_version(),
                "generation": 1,
                "creationTimestamp": EARLIER,
                "managedFields": [{"manager": names.FIELD_MANAGER}],
                **metadata,
            }
        },
    )


def live_children(
    owner: Resource, context: RenderContext = CONTEXT
) -> dict[tuple[Kind, str], LiveChild]:
    """Return the children of a resource as the store holds them when all is applied."""
    result = {}
    for child in children(owner, context):
        kind = kinds.kind_of(child["apiVersion"], child["kind"])
        result[kind, child["metadata"]["name"]] = live_child(kind, live(child))
    return result


def replace_all(index: Index[Any], listed: Iterable[Body], as_of: int) -> set[Key]:
    """Replace an index by a full list, as a resync does; return the resources to reconcile."""
    bodies = list(listed)
    changed = {index.put(body) for body in bodies}
    changed |= index.delete_missing({key_of(body) for body in bodies}, as_of)
    return {owner for owner in changed if owner is not None}
