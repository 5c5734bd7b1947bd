"""What holds for the children of every router, whatever its resource says."""

from collections.abc import Iterator
from typing import Any

from child_rules import CONFINED
from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render import KubernetesObject

Object = dict[str, Any]


def is_of_router(resource: Resource, child: KubernetesObject) -> bool:
    """Tell whether a child is part of the router of a resource."""
    name = resource.name
    services = {names.replicas_service(name), names.activator_service(name)}
    leads_to = child["metadata"].get("labels", {}).get(names.LABEL_SERVICE)
    own = {names.router(name), *services}
    return child["metadata"]["name"] in own or leads_to in services


def broken_router_rules(resource: Resource, rendered: list[KubernetesObject]) -> list[str]:
    """Return what does not hold."""
    problems = [
        f"{one['kind']} {one['metadata']['name']} has another owner or namespace"
        for one in rendered
        if one["metadata"]["namespace"] != resource.namespace
        or one["metadata"].get("ownerReferences") != [resource.owner_reference]
    ]
    pods = [one["spec"]["template"]["spec"] for one in rendered if one["kind"] == "Deployment"]
    if len(pods) != int(resource.spec.routing.enabled):
        problems.append(f"{len(pods)} Deployments of a router")
    return problems + [problem for pod in pods for problem in _of_pod(pod)]


def _of_pod(pod: Object) -> Iterator[str]:
    if pod["automountServiceAccountToken"] is not False or "serviceAccountName" in pod:
        yield "the router has an account"
    if pod["securityContext"].get("runAsNonRoot") is not True:
        yield f"the router is not restricted: {pod['securityContext']}"
    if pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "nodeName"} or pod.get("volumes"):
        yield "the router uses the node"
    for container in pod["containers"]:
        if container["securityContext"] != CONFINED:
            yield f"the router is not confined: {container['securityContext']}"
