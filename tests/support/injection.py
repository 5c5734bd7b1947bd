"""What platforms do to pods at their admission: add containers, and choose the user."""

import json
from typing import Any

from cluster_namespace import Namespace, Object
from mistral_dev.images.server_image import NAME

API_VERSION = "admissionregistration.k8s.io/v1beta1"
LABEL = "inject"
"""Label of the pods that something is added to; its value is the name of the injection."""

PLATFORM_USER = 1_000_680_000
"""As OpenShift chooses it: the user of a namespace, in group 0."""

_RUN_UNTIL_STOPPED = "import signal; signal.signal(15, lambda *_: exit(0)); signal.pause()"


def injected_container(name: str, script: str, **fields: Any) -> Object:
    """Return a container that runs a script, and that restricted namespaces let in."""
    return {
        "name": name,
        "image": NAME,
        "command": ["python3", "-c", script],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **fields,
    }


def waiting(name: str, seconds: float) -> Object:
    """Return an init container that takes its time."""
    return injected_container(name, f"import time; time.sleep({seconds})")


def failing(name: str, message: str) -> Object:
    """Return an init container that fails."""
    return injected_container(name, f"raise SystemExit('{message}')")


def sidecar(name: str, **fields: Any) -> Object:
    """Return a container that runs until it is stopped."""
    return injected_container(name, _RUN_UNTIL_STOPPED, **fields)


def first(container: Object) -> str:
    """Return the operation that puts a container before all others."""
    return _operation("/spec/initContainers/0", _cel("Object.spec.initContainers", container))


def beside(container: Object) -> str:
    """Return the operation that adds a container to those that run together."""
    return _operation("/spec/containers/-", _cel("Object.spec.containers", container))


def chosen_user() -> list[str]:
    """Return the operations with which OpenShift chooses the user of a pod."""
    return [
        _operation(f"/spec/securityContext/{name}", str(PLATFORM_USER))
        for name in ("runAsUser", "fsGroup")
    ]


def _operation(path: str, value: str) -> str:
    return f"JSONPatch{{op: 'add', path: '{path}', value: {value}}}"


def _cel(type_: str, value: Any) -> str:
    """Return a value as a CEL expression of a type."""
    if isinstance(value, dict):
        fields = ", ".join(f"{name}: {_cel(f'{type_}.{name}', one)}" for name, one in value.items())
        return f"{type_}{{{fields}}}"
    if isinstance(value, list):
        return f"[{', '.join(_cel(type_, one) for one in value)}]"
    return json.dumps(value)


def inject(namespace: Namespace, name: str, *operations: str) -> None:
    """Let the API server change the pods with a label, and wait until it does."""
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    metadata = {"name": f"{namespace.name}-{name}"}
    labels = "object.metadata.?labels.orValue({})"
    policy = {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
            "resourceRules": [pods],
        },
        "matchConditions": [
            {"name": "label", "expression": f"{labels}[?'{LABEL}'].orValue('') == '{name}'"}
        ],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {"expression": f"[{', '.join(operations)}]"},
            }
        ],
    }
    namespace.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata,
            "spec": policy,
        },
        {
            "apiVersion": API_VERSION,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": metadata["name"]},
        },
    )
    probe = _probe(name)
    namespace.until(lambda: _admitted(namespace, probe) != probe["spec"], "the injection")


def _probe(label: str) -> Object:
    """Return a pod like those of endpoints."""
    container = injected_container("probe", "")
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": {LABEL: label}},
        "spec": {
            "containers": [container],
            "initContainers": [{**container, "name": "first"}],
            "securityContext": context,
        },
    }


def _admitted(namespace: Namespace, pod: Object) -> Object:
    """Return what of a pod's spec the API server would store, as far as it was given."""
    answer = namespace.kubectl(
        *("create", "--dry-run=server", "-o", "json", "-f", "-"), text=json.dumps(pod)
    )
    spec: Object = json.loads(answer)["spec"]
    names = [one["name"] for kind in ("initContainers", "containers") for one in spec[kind]]
    same = names == ["first", "probe"] and spec["securityContext"] == pod["spec"]["securityContext"]
    return pod["spec"] if same else spec
