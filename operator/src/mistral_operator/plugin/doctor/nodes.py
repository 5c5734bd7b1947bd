"""Checks of the nodes: GPUs, their labels, their driver. Pure."""

from collections.abc import Iterator

from mistral_operator.api import Reason
from mistral_operator.api.spec import Spec
from mistral_operator.kube.objects import Body
from mistral_operator.kube.plurals import counted
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot
from mistral_operator.status.model_fits import model_fits
from mistral_operator.watch.nodes import memory_label, node_facts

_OLDEST_DRIVER = 580
"""Of CUDA 13.0, which the server image has."""

_DRIVER_LABELS = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")
"""Of GPU feature discovery; the second one is the former name."""

_PRODUCT = "nvidia.com/gpu.product"


def gpus(snapshot: Snapshot) -> Iterator[Finding]:
    """Find GPUs that no node offers, that are too few on each node, and that cannot run a model."""
    if snapshot.nodes is None:
        return
    nodes = tuple(node_facts(one) for one in snapshot.nodes if not _is_cordoned(one))
    missing, resting = set[str](), snapshot.without_replicas()
    for name, spec in snapshot.planned():
        resource, needed = spec.pod.gpu.resource_name, spec.engine.tensor_parallel_size
        most = max((node.count(resource) for node in nodes), default=0)
        if not most:
            # An autoscaler of nodes removes those that are not needed.
            if resource not in missing and name not in resting:
                missing.add(resource)
                yield _no_gpus(resource, snapshot.nodes)
        elif most < needed:
            yield Finding(
                name,
                f"a replica needs {needed} {resource} on one node, and the largest node offers"
                f" {most}",
                "lower spec.engine.tensorParallelSize, or add a larger node",
            )
        else:
            verdict = model_fits(spec, nodes)
            if verdict.reason in {Reason.DOES_NOT_FIT, Reason.GPUS_UNSUITABLE}:
                yield Finding(
                    name,
                    f"cannot run on the GPUs of any node ({verdict.reason})",
                    verdict.message,
                )


def _no_gpus(resource: str, nodes: tuple[Body, ...]) -> Finding:
    cordoned = [_name(one) for one in nodes if _amount(one, resource) and _is_cordoned(one)]
    if cordoned:
        return Finding(
            f"Node {cordoned[0]}",
            f"every node with {resource} is cordoned",
            f"kubectl uncordon {cordoned[0]}",
        )
    labeled = [_name(one) for one in nodes if _PRODUCT in _labels(one)]
    if labeled:
        return Finding(
            f"Node {labeled[0]}",
            f"has a GPU by its label {_PRODUCT} and offers no {resource}",
            "check the pods of the NVIDIA device plugin on this node",
        )
    return Finding(
        "Nodes",
        f"none of {counted(len(nodes), 'node')} offers {resource}",
        "add a node with GPUs, and install the NVIDIA GPU Operator or its device plugin",
    )


def labels(snapshot: Snapshot) -> Iterator[Finding]:
    """Find nodes whose GPU memory is not known, so that ModelFits cannot be checked."""
    planned = [spec for _, spec in snapshot.planned() if spec.pod.gpu.memory is None]
    for resource in sorted({spec.pod.gpu.resource_name for spec in planned}):
        for body in snapshot.nodes or ():
            # A label for each pod of a shared GPU does not exist; the condition ModelFits says so.
            if memory_label(resource) in _labels(body) or not _is_for(body, planned, resource):
                continue
            yield Finding(
                f"Node {_name(body)}",
                f"offers {resource} without the label {memory_label(resource)}",
                "install NVIDIA GPU feature discovery, or set spec.pod.gpu.memory",
            )


def drivers(snapshot: Snapshot) -> Iterator[Finding]:
    """Find drivers that are too old for the server image."""
    planned = [spec for _, spec in snapshot.planned()]
    for body in snapshot.nodes or ():
        if not _is_for(body, planned):
            continue
        version = next((_labels(body)[one] for one in _DRIVER_LABELS if one in _labels(body)), "")
        if version.isascii() and version.isdigit() and len(version) < 6:
            if int(version) >= _OLDEST_DRIVER:
                continue
            yield Finding(
                f"Node {_name(body)}",
                f"has NVIDIA driver {version}, and CUDA 13.0 of the server image needs"
                f" {_OLDEST_DRIVER} or newer",
                "update the driver",
            )


def unready(snapshot: Snapshot) -> Iterator[Finding]:
    """Find nodes with GPUs that are not ready."""
    planned = [spec for _, spec in snapshot.planned()]
    for body in snapshot.nodes or ():
        conditions = {one["type"]: one for one in body.get("status", {}).get("conditions") or ()}
        ready = conditions.get("Ready")
        if ready is None or ready.get("status") == "True":
            continue
        if _is_for(body, planned):
            yield Finding(
                f"Node {_name(body)}",
                f"has GPUs and is not ready ({ready.get('reason', 'no reason')})",
                f"kubectl describe node {_name(body)}",
            )


def _name(node: Body) -> str:
    return str(node["metadata"]["name"])


def _labels(node: Body) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _is_for(node: Body, planned: list[Spec], resource: str | None = None) -> bool:
    """Tell whether a node offers GPUs to a planned replica, all or those with GPUs of a resource.

    A cordoned node takes none: its administrator works on it.
    """
    return not _is_cordoned(node) and any(
        _amount(node, spec.pod.gpu.resource_name)
        and spec.pod.node_selector.items() <= _labels(node).items()
        for spec in planned
        if resource is None or spec.pod.gpu.resource_name == resource
    )


def _amount(node: Body, resource: str) -> bool:
    """Tell whether a node offers a resource, cordoned or not."""
    allocatable = node.get("status", {}).get("allocatable") or {}
    return str(allocatable.get(resource, "0")) != "0"


def _is_cordoned(node: Body) -> bool:
    return bool(node.get("spec", {}).get("unschedulable"))
