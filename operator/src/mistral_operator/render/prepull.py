"""The DaemonSet that pulls the images of an edit on the nodes, and its NetworkPolicy.

Its pods do nothing: a node pulls the images to start them. They have neither GPUs nor the labels of
replicas, so that they count as such nowhere.
"""

from collections.abc import Sequence
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.container import SECURITY_CONTEXT
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child, digest
from mistral_operator.render.pod import security_context, server_image, tolerations
from mistral_operator.render.server_settings import MODELS
from mistral_operator.render.volumes import model_image

_AMOUNTS = {"cpu": "10m", "memory": "32Mi"}
"""What a process that waits takes, and the kubelet needs to start it. Requests and limits are the
same: a quota wants both."""

_NO_MESH = {
    "labels": {"sidecar.istio.io/inject": "false"},
    "annotations": {"linkerd.io/inject": "disabled"},
}
"""A proxy that starts first could keep the node from pulling, and the pods send nothing."""


def images(resource: Resource, context: RenderContext) -> tuple[str, ...]:
    """Return the images that the pods of an endpoint need: of the server, and of the model."""
    model = model_image(resource.spec)
    server = server_image(resource.spec, context)
    return (server,) if model is None else (server, model["image"]["reference"])


def prepull_name(resource: Resource, context: RenderContext) -> str:
    """Return the name of the DaemonSet, which follows from what is pulled, and how."""
    return names.prepull(resource.name, digest(_pod_spec(resource, context)))


def prepull_selector(resource: Resource, context: RenderContext) -> dict[str, str]:
    """Return the labels of the pods of the DaemonSet."""
    return {
        names.LABEL_PREPULL: resource.name,
        names.LABEL_PREPULLED: digest(_pod_spec(resource, context)),
    }


def prepull_children(
    resource: Resource, context: RenderContext, nodes: Sequence[str]
) -> list[KubernetesObject]:
    """Return the DaemonSet, and the policy that closes the network to its pods.

    Args:
        resource: the desired endpoint.
        context: facts of the installation.
        nodes: names of the nodes that pull; none: no children.
    """
    if not nodes:
        return []
    policies = [_policy(resource)] if resource.spec.network_policy else []
    return [*policies, _daemon_set(resource, context, nodes)]


def _daemon_set(
    resource: Resource, context: RenderContext, nodes: Sequence[str]
) -> KubernetesObject:
    selector, pod = prepull_selector(resource, context), _pod_spec(resource, context)
    return child(
        resource,
        "apps/v1",
        "DaemonSet",
        prepull_name(resource, context),
        spec={
            "selector": {"matchLabels": selector},
            # Another set of nodes changes the template, and no pod needs to be replaced for it.
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {
                    "labels": {**selector, **_NO_MESH["labels"]},
                    "annotations": _NO_MESH["annotations"],
                },
                "spec": {**pod, "affinity": {"nodeAffinity": _on(nodes)}},
            },
        },
    )


def _on(nodes: Sequence[str]) -> dict[str, Any]:
    """Return the affinity to nodes by name: terms are alternatives, each with one value."""
    terms = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        for node in nodes
    ]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def _pod_spec(resource: Resource, context: RenderContext) -> dict[str, Any]:
    """Return the pod without its nodes."""
    spec = resource.spec
    model = model_image(spec)
    fields = {
        "imagePullSecrets": [{"name": secret} for secret in spec.pod.image_pull_secrets],
        "tolerations": tolerations(spec),
        "runtimeClassName": spec.pod.runtime_class_name,
        "volumes": [{"name": "model", **model}] if model else [],
    }
    return {
        "serviceAccountName": spec.pod.service_account_name or resource.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security_context(spec.pod, context),
        # PID 1 ignores SIGTERM, and there is nothing to finish.
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(resource, context)],
        **{name: value for name, value in fields.items() if value},
    }


def _container(resource: Resource, context: RenderContext) -> dict[str, Any]:
    mounts = [{"name": "model", "mountPath": MODELS, "readOnly": True}]
    return {
        "name": names.PREPULL_CONTAINER,
        "image": server_image(resource.spec, context),
        "imagePullPolicy": resource.spec.image_pull_policy,
        "command": ["tail", "-f", "/dev/null"],
        "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
        "securityContext": SECURITY_CONTEXT,
        **({"volumeMounts": mounts} if model_image(resource.spec) else {}),
    }


def _policy(resource: Resource) -> KubernetesObject:
    """Return a policy without rules: the image is not in use yet, and needs no network to wait."""
    return child(
        resource,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        names.prepull_policy(resource.name),
        spec={
            "podSelector": {"matchLabels": {names.LABEL_PREPULL: resource.name}},
            "policyTypes": ["Ingress", "Egress"],
        },
    )
