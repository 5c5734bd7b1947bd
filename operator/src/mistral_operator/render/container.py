"""The containers of a pod: the server, and the init container that fetches the model."""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.model import DEFAULT_MODEL
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.kube.quantities import parse_quantity
from mistral_operator.render.server_settings import (
    COMPILE_CACHE,
    COMPILED,
    MODELS,
    keeps_compiled_code,
    server_settings,
)
from mistral_operator.render.volumes import fetch_mounts, server_mounts
from mistral_server.contract import (
    COMPILE_CACHE_ENV,
    ENDPOINT_ENV,
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    FetchSettings,
    endpoint_text,
)
from mistral_server.contract.base import ContractModel

SECURITY_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

_DEFAULT_REQUESTS = {
    # The host side of vLLM at full size: API server, engine, one worker per GPU, and the page cache
    # that the weights are read through.
    "cuda": {"cpu": "4", "memory": "24Gi"},
    "cpu": {"cpu": "2", "memory": "4Gi"},
}

_MODEL_DISK = {DEFAULT_MODEL: "50Gi"}
"""Disk of the node for a model without a claim: 48.02 GB of files, and room for logs and caches.
Unknown models are not guessed: they may have any size."""

_FETCH_REQUESTS = {"cpu": "1", "memory": "1Gi"}
_FETCH_MEMORY_LIMIT = "8Gi"
"""Chunks in flight: the files themselves are written to the volume."""

_STARTUP_PROBE_SECONDS = 10
_STARTUP_MARGIN_SECONDS = 60
"""The supervisor enforces `startupSeconds` and reports the cause. The kubelet, which can only
kill, acts later."""


def server_container(resource: Resource, image: str) -> dict[str, Any]:
    """Return the container that runs the supervisor and vLLM."""
    spec = resource.spec
    budget = spec.startup_seconds + _STARTUP_MARGIN_SECONDS
    return {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": spec.image_pull_policy,
        "args": ["run"],
        "env": [
            *_variables(spec),
            _settings_variable(SERVER_SETTINGS_ENV, server_settings(spec)),
            {"name": ENDPOINT_ENV, "value": endpoint_text(resource.namespace, resource.name)},
            *_compile_cache(spec, COMPILE_CACHE),
        ],
        "ports": [
            {"name": names.PORT_HTTP, "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": names.PORT_HEALTH, "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(spec),
        "startupProbe": _probe("/startupz", _STARTUP_PROBE_SECONDS, budget),
        "readinessProbe": _probe("/readyz", 2, 4),
        "livenessProbe": _probe("/livez", 10, 30),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY_CONTEXT,
        "volumeMounts": server_mounts(spec),
    }


def fetch_container(spec: Spec, image: str, fetch: FetchSettings) -> dict[str, Any]:
    """Return the init container that fetches the model, the only one with the hub's token."""
    env = [
        *_variables(spec),
        _settings_variable(FETCH_SETTINGS_ENV, fetch),
        *_compile_cache(spec, f"{MODELS}/{COMPILED}"),
    ]
    hub = spec.model.source.hub
    if hub is not None and hub.endpoint is not None:
        env.append({"name": "HF_ENDPOINT", "value": hub.endpoint})
    if hub is not None and hub.token_secret is not None:
        secret = hub.token_secret
        reference = {"secretKeyRef": {"name": secret.name, "key": secret.key}}
        env.append({"name": "HF_TOKEN", "valueFrom": reference})
    return {
        "name": names.FETCH_CONTAINER,
        "image": image,
        "imagePullPolicy": spec.image_pull_policy,
        "args": ["fetch"],
        "env": env,
        "resources": _fetch_resources(spec),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY_CONTEXT,
        "volumeMounts": fetch_mounts(spec),
    }


def _variables(spec: Spec) -> list[dict[str, Any]]:
    """Return the variables of the resource. The API server drops an empty value."""
    variables = [to_kubernetes(one) for one in spec.pod.env]
    return [{key: one for key, one in each.items() if one != ""} for each in variables]


def _compile_cache(spec: Spec, path: str) -> list[dict[str, Any]]:
    """Return the variable with the directory of compiled code, where it is mounted."""
    return [{"name": COMPILE_CACHE_ENV, "value": path}] if keeps_compiled_code(spec) else []


def _settings_variable(name: str, settings: ContractModel) -> dict[str, Any]:
    """Render settings without defaults, so that a new field with a default restarts no pod."""
    return {"name": name, "value": settings.model_dump_json(exclude_defaults=True)}


def _resources(spec: Spec) -> dict[str, Any]:
    resources = spec.pod.resources
    limits = {str(key): value for key, value in resources.limits.items()}
    if spec.memory_limit is not None:
        limits["memory"] = spec.memory_limit
    defaults = _DEFAULT_REQUESTS[spec.device] | _disk(spec)
    defaults = within(defaults | {"memory": spec.with_offload(defaults["memory"])}, limits)
    requests = defaults | {str(key): value for key, value in resources.requests.items()}
    if spec.device == "cuda":
        gpus = {spec.pod.gpu.resource_name: str(spec.engine.tensor_parallel_size)}
        # Extended resources cannot be overcommitted: request and limit are the same.
        requests |= gpus
        limits |= gpus
    return {"requests": requests} | ({"limits": limits} if limits else {})


def _disk(spec: Spec) -> dict[str, str]:
    """Return the disk of the node that the model takes, so that the scheduler knows of it."""
    if spec.cache is not None or spec.model.source.is_mounted or spec.model.id not in _MODEL_DISK:
        return {}
    return {"ephemeral-storage": _MODEL_DISK[spec.model.id]}


def _fetch_resources(spec: Spec) -> dict[str, Any]:
    """Return resources with the limits of the server, since a quota wants them everywhere."""
    own = spec.pod.fetch_resources
    requests = {str(key): value for key, value in own.requests.items()}
    limits = {str(key): value for key, value in spec.pod.resources.limits.items()}
    limits |= within({"memory": _FETCH_MEMORY_LIMIT}, limits)
    # A request that the resource sets is not cut: what follows it is the limit from elsewhere.
    limits = _at_least(limits, requests) | {str(key): one for key, one in own.limits.items()}
    requests = within(_FETCH_REQUESTS, limits) | _fetch_disk(spec, limits) | requests
    return {"requests": requests, "limits": limits}


def _fetch_disk(spec: Spec, limits: dict[str, str]) -> dict[str, str]:
    """Return the server's request of disk where it is below the limit.

    Kubernetes takes the limit for a request that is missing, and counts the whole pod with it.
    """
    disk = _resources(spec)["requests"].get("ephemeral-storage")
    limit = limits.get("ephemeral-storage")
    if disk is None or limit is None or parse_quantity(disk) >= parse_quantity(limit):
        return {}
    return {"ephemeral-storage": disk}


def _at_least(amounts: dict[str, str], requests: dict[str, str]) -> dict[str, str]:
    """Return limits that are no smaller than requests: the API server rejects smaller ones."""
    return {
        key: max(value, requests.get(key, value), key=parse_quantity)
        for key, value in amounts.items()
    }


def within(amounts: dict[str, str], limits: dict[str, str]) -> dict[str, str]:
    """Return amounts that are no larger than limits: the API server rejects larger requests."""
    return {
        key: min(value, limits.get(key, value), key=parse_quantity)
        for key, value in amounts.items()
    }


def _probe(path: str, period: int, budget: int) -> dict[str, Any]:
    """Return a probe of the supervisor that fails after `budget` seconds without success."""
    return {
        "httpGet": {"path": path, "port": names.PORT_HEALTH},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": -(-budget // period),
    }
