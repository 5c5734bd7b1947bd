"""What holds for the pods that pull images, whatever the spec of their resource says."""

from collections.abc import Iterator

from child_rules import CONFINED, POD_FIELDS, RESTRICTED, USERS
from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render import KubernetesObject

CONTAINER_FIELDS = {
    "command", "image", "imagePullPolicy", "name", "resources", "securityContext", "volumeMounts",
}  # fmt: skip
"""Not among them: variables, ports and probes."""


def broken_prepull_rules(
    resource: Resource, rendered: list[KubernetesObject], pod_of_replica: KubernetesObject
) -> Iterator[str]:
    """Yield what does not hold of the DaemonSet, by the pod of a replica."""
    (daemon_set,) = [one for one in rendered if one["kind"] == "DaemonSet"]
    template = daemon_set["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    name, owners = daemon_set["metadata"]["name"], daemon_set["metadata"]["ownerReferences"]
    if len(name) > 253 or not name.startswith(f"{resource.name}-prepull-"):
        yield f"a DaemonSet {name}"
    if owners != [resource.owner_reference]:
        yield f"a DaemonSet of {owners}"
    if not daemon_set["spec"]["selector"]["matchLabels"].items() <= labels.items():
        yield "the DaemonSet does not select its pods"
    if labels.keys() & names.labels(resource.name).keys():
        yield f"pods that pull are labeled as replicas: {labels}"
    if odd := pod.keys() - POD_FIELDS:
        yield f"pods that pull have {odd}"
    context = {key: one for key, one in pod["securityContext"].items() if key not in USERS}
    if context != RESTRICTED or pod["automountServiceAccountToken"] is not False:
        yield f"pods that pull are not restricted: {pod['securityContext']}"
    (container,) = pod["containers"]
    if odd := container.keys() - CONTAINER_FIELDS:
        yield f"the container that pulls has {odd}"
    if container["securityContext"] != CONFINED or container["command"] != [
        "tail",
        "-f",
        "/dev/null",
    ]:
        yield f"the container that pulls is {container}"
    for field in ("imagePullSecrets", "serviceAccountName", "securityContext", "runtimeClassName"):
        if pod.get(field) != pod_of_replica.get(field):
            yield f"{field} is {pod.get(field)}, and of a replica {pod_of_replica.get(field)}"
    images = [one["image"] for one in pod.get("volumes", ())]
    if images != [one["image"] for one in pod_of_replica["volumes"] if "image" in one]:
        yield f"volumes {pod.get('volumes')}"
