"""What the pods of an endpoint will have, as the operator renders them. Pure."""

from collections.abc import Iterator
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.spec import Spec
from mistral_operator.kube.objects import Body
from mistral_operator.render import RenderContext
from mistral_operator.render.pod import pod_template


def pod_spec(spec: Spec) -> dict[str, Any]:
    """Return the spec of the pods of an endpoint."""
    resource = Resource(name="any", namespace="any", uid="", generation=1, spec=spec)
    rendered: dict[str, Any] = pod_template(resource, RenderContext(server_image="server"))["spec"]
    return rendered


def containers(spec: Spec) -> list[Body]:
    """Return the containers of a pod, the init container first."""
    rendered = pod_spec(spec)
    return [*rendered.get("initContainers", ()), *rendered["containers"]]


def secret_names(spec: Spec) -> set[str]:
    """Return the names of all Secrets that the pods of an endpoint need."""
    # Optional for the kubelet, so that the server can say what is missing.
    keys = set() if spec.gate.api_keys is None else {spec.gate.api_keys.secret}
    return {*_secrets(pod_spec(spec)), *keys}


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _secrets(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "imagePullSecrets":
                yield from (each["name"] for each in one)
            elif key == "secretKeyRef" or (key == "secret" and isinstance(one, dict)):
                if not one.get("optional"):
                    yield from (one[name] for name in ("name", "secretName") if name in one)
            else:
                yield from _secrets(one)
