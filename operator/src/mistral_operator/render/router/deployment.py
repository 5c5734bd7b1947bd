"""The Deployment of a router: pods of Envoy within the Pod Security Standard `restricted`."""

import json
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.pod import PodSecurityContext
from mistral_operator.api.routing import RouterResources
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.kube.quantities import parse_quantity
from mistral_operator.render.container import SECURITY_CONTEXT, within
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child
from mistral_operator.render.router.envoy import bootstrap, drain_delay
from mistral_operator.render.router.listeners import DRAIN_PATH, POD_IP, READY_PATH

_USER = 101
"""User and group of the image."""
_THREADS = 2
_REQUESTS = {"cpu": "100m", "memory": "128Mi"}
_MEMORY_LIMIT = "512Mi"
_EXIT_MARGIN_SECONDS = 10


def router_labels(resource: Resource) -> dict[str, str]:
    """Return the labels of the pods. They lack those by which the operator watches replicas."""
    return {
        names.LABEL_NAME: "mistral-small-router",
        names.LABEL_INSTANCE: resource.name,
        names.LABEL_COMPONENT: names.ROUTER,
        **names.router_selector(resource.name),
    }


def router_deployment(resource: Resource, context: RenderContext) -> KubernetesObject:
    """Return the Deployment. A changed configuration of Envoy replaces its pods."""
    spec = resource.spec
    return child(
        resource,
        "apps/v1",
        "Deployment",
        names.router(resource.name),
        labels={names.LABEL_COMPONENT: names.ROUTER},
        spec={
            "replicas": 0 if spec.suspend else spec.routing.replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.router_selector(resource.name)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": {"labels": router_labels(resource)},
                "spec": _pod_spec(resource, context),
            },
        },
    )


def _pod_spec(resource: Resource, context: RenderContext) -> dict[str, Any]:
    spec = resource.spec
    users = {"runAsUser": _USER, "runAsGroup": _USER}
    if context.pods.security_context == PodSecurityContext():
        users = {}  # the platform sets them
    secrets = [{"name": one} for one in spec.pod.image_pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **users,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": drain_delay(spec.drain_seconds) + _EXIT_MARGIN_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.router_selector(resource.name)},
            }
        ],
        **({"imagePullSecrets": secrets} if secrets else {}),
        "containers": [_container(resource, context)],
    }


def _container(resource: Resource, context: RenderContext) -> dict[str, Any]:
    configuration = json.dumps(bootstrap(resource), sort_keys=True, separators=(",", ":"))
    return {
        "name": names.ROUTER,
        "image": context.router_image,
        "imagePullPolicy": resource.spec.image_pull_policy,
        "command": ["envoy"],
        "args": [
            *("--config-yaml", configuration),
            *("--concurrency", str(_THREADS)),
            # Clients leave a pod that stops with their next response.
            *("--drain-strategy", "immediate"),
            *("--log-level", "warning"),
            # It would need a file system that can be written.
            "--disable-hot-restart",
        ],
        "env": [{"name": POD_IP, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [
            {"name": names.PORT_HTTP, "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": names.PORT_HEALTH, "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _probe(period=2, failures=2),
        "livenessProbe": _probe(period=10, failures=6),
        "lifecycle": {
            "preStop": {"httpGet": {"path": DRAIN_PATH, "port": names.PORT_HEALTH}},
        },
        "resources": _resources(resource.spec.routing.resources),
        "securityContext": SECURITY_CONTEXT,
    }


def _probe(*, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": READY_PATH, "port": names.PORT_HEALTH},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _resources(resources: RouterResources) -> dict[str, Any]:
    requests = {str(key): value for key, value in resources.requests.items()}
    limits = {str(key): value for key, value in resources.limits.items()}
    least = requests.get("memory", _MEMORY_LIMIT)
    limits = {"memory": max(_MEMORY_LIMIT, least, key=parse_quantity)} | limits
    return {"requests": within(_REQUESTS, limits) | requests, "limits": limits}
