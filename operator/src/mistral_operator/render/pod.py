"""The pod template: one container that runs the supervisor and, under it, vLLM."""

import re
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.pod import Pod, PodSecurityContext, to_kubernetes, without_empty
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.render.container import fetch_container, server_container
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import digest
from mistral_operator.render.server_settings import ENDPOINT_REMOVAL_SECONDS, fetch_settings
from mistral_operator.render.volumes import volumes
from mistral_operator.watch.nodes import is_slice

USER = 1000
"""User and group of both images. The group owns the file system of the cache."""

_EXIT_MARGIN_SECONDS = 30
"""Time after the drain in which vLLM stops its workers and the supervisor reaps them."""


def pod_template(resource: Resource, context: RenderContext) -> dict[str, Any]:
    """Return the pod template."""
    spec = pod_spec(resource, context)
    return {
        "metadata": {
            "labels": {**resource.spec.pod.labels, **names.labels(resource.name)},
            "annotations": {
                **resource.spec.pod.annotations,
                names.ANNOTATION_CONFIGURATION: digest(spec),
            },
        },
        "spec": spec,
    }


def server_image(spec: Spec, context: RenderContext) -> str:
    """Return the image of the server."""
    return spec.image or context.server_image


def configuration_digest(resource: Resource, context: RenderContext) -> str:
    """Return the digest of the pod template, as in the annotation of the pods."""
    return digest(pod_spec(resource, context))


def pod_spec(resource: Resource, context: RenderContext) -> dict[str, Any]:
    """Return the pod of a replica."""
    spec = resource.spec
    image = server_image(spec, context)
    fetch = fetch_settings(spec)
    pod: dict[str, Any] = {
        "serviceAccountName": spec.pod.service_account_name or resource.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security_context(spec.pod, context),
        "terminationGracePeriodSeconds": (
            ENDPOINT_REMOVAL_SECONDS + spec.drain_seconds + _EXIT_MARGIN_SECONDS
        ),
        "containers": [server_container(resource, image)],
        "volumes": volumes(spec, resource.name),
    }
    if fetch is not None:
        pod["initContainers"] = [fetch_container(spec, image, fetch)]
    if spec.pod.host_users is not None:
        pod["hostUsers"] = spec.pod.host_users
    return pod | _placement(resource.name, spec) | _resolution(spec.pod)


def security_context(pod: Pod, context: RenderContext) -> dict[str, Any]:
    """Return the security context; what a resource can set of it are users and groups."""
    chosen = pod.security_context
    users = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    if chosen is not None:
        ids = {key: value for key, value in to_kubernetes(chosen).items() if value}
        # Empty, here or in the installation, leaves to the platform what is not set.
        is_all = not ids or context.pods.security_context == PodSecurityContext()
        users = ids if is_all else users | ids
    return {
        "runAsNonRoot": True,
        **users,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resolution(pod: Pod) -> dict[str, Any]:
    """Return the fields for names of hosts."""
    fields: dict[str, Any] = {}
    if pod.dns_config is not None:
        fields["dnsConfig"] = without_empty(to_kubernetes(pod.dns_config))
    if pod.host_aliases:
        fields["hostAliases"] = [to_kubernetes(one) for one in pod.host_aliases]
    return {name: value for name, value in fields.items() if value}


def _placement(name: str, spec: Spec) -> dict[str, Any]:
    """Return the fields for scheduling."""
    pod = spec.pod
    placement: dict[str, Any] = {
        "nodeSelector": dict(pod.node_selector),
        "tolerations": tolerations(spec),
        "topologySpreadConstraints": [
            {
                **to_kubernetes(constraint),
                "labelSelector": {"matchLabels": names.selector(name)},
                # Count only pods of the same revision; old ones are about to be deleted.
                "matchLabelKeys": ["pod-template-hash"],
            }
            for constraint in pod.topology_spread
        ],
        "imagePullSecrets": [{"name": secret} for secret in pod.image_pull_secrets],
        "affinity": pod.affinity and without_empty(to_kubernetes(pod.affinity)),
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "schedulerName": pod.scheduler_name,
    }
    return {field: value for field, value in placement.items() if value}


def tolerations(spec: Spec) -> list[dict[str, Any]]:
    """Return the tolerations: of nodes with GPUs, and those of the resource."""
    of_gpus = []
    if spec.device == "cuda":
        # GPU nodes are commonly tainted with the name of the resource, to repel other pods.
        of_gpus = [
            {"key": key, "operator": "Exists", "effect": "NoSchedule"}
            for key in _taints(spec.pod.gpu.resource_name)
        ]
    configured = [to_kubernetes(toleration) for toleration in spec.pod.tolerations]
    # The API server drops empty strings; rendered, they would look like drift forever.
    return of_gpus + [
        {key: value for key, value in one.items() if value != ""} for one in configured
    ]


def _taints(resource: str) -> list[str]:
    """Return the taints of nodes with a GPU resource: parts of a GPU are on nodes with GPUs."""
    is_part = is_slice(resource) or re.fullmatch(r"nvidia\.com/.+\.shared", resource)
    return [resource, "nvidia.com/gpu"] if is_part else [resource]
