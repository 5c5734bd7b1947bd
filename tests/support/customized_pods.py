"""Additions to pods, and the pods that are rendered with them."""

from typing import Any

from builders import CONTEXT, SERVER_IMAGE, resource
from mistral_operator.api.pod import PodDefaults
from mistral_operator.render import RenderContext, children
from mistral_operator.render.pod_defaults import with_defaults

Object = dict[str, Any]

PROXY = {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}
BUNDLE = {"name": "ca", "configMap": {"name": "ca-bundle"}}
MOUNT = {"name": "ca", "mountPath": "/mnt/ca"}
BELIEVED = {"name": "SSL_CERT_FILE", "value": "/mnt/ca/ca.crt"}


def rendered(spec: Object, context: RenderContext = CONTEXT) -> dict[str, Object]:
    """Return the children by kind."""
    endpoint = with_defaults(resource(spec), context)
    return {one["kind"]: one for one in children(endpoint, context)}


def template(pod: Object, defaults: Object | None = None) -> Object:
    """Return the pod template of `spec.pod` in an installation."""
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(defaults or {}))
    result: Object = rendered({"pod": pod}, context)["Deployment"]["spec"]["template"]
    return result


def containers(pod: Object, defaults: Object | None = None) -> list[Object]:
    """Return both containers."""
    spec = template(pod, defaults)["spec"]
    return [*spec["initContainers"], *spec["containers"]]
