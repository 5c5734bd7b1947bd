"""The volumes of a pod and their mounts."""

from typing import Any

from mistral_operator.api.pod import to_kubernetes, without_empty
from mistral_operator.api.spec import Spec
from mistral_operator.api.volumes import Volume
from mistral_operator.kube import names
from mistral_operator.render.server_settings import (
    API_KEYS,
    COMPILE_CACHE,
    COMPILED,
    MODELS,
    SYSTEM_PROMPT,
    keeps_compiled_code,
)
from mistral_server.contract import API_KEYS_FILE

_TMP, _HOME, _SHM, _MODEL = "tmp", "home", "shm", "model"
_SIZE_LIMITS = {
    # What a pod may take of its node's disk. Nothing is reserved; a pod that takes more is evicted
    # before its neighbors are.
    _TMP: "10Gi",
    _HOME: "20Gi",  # compile caches of 64 MB, and the download cache of the hub's client
    _MODEL: "128Gi",  # 48 GB in bf16, twice that in float32
}
_READ_ONLY: dict[bool, dict[str, Any]] = {True: {"readOnly": True}, False: {}}
_PROMPT, _KEYS = "system-prompt", names.VOLUME_API_KEYS


def volumes(spec: Spec, resource: str) -> list[dict[str, Any]]:
    """Return the volumes. The root file system is read-only, so each writable path is a volume."""
    result: list[dict[str, Any]] = [
        {"name": _TMP, "emptyDir": {"sizeLimit": _SIZE_LIMITS[_TMP]}},
        {"name": _HOME, "emptyDir": {"sizeLimit": _SIZE_LIMITS[_HOME]}},
        {
            "name": _SHM,
            "emptyDir": {"medium": "Memory", "sizeLimit": spec.with_offload(spec.shared_memory)},
        },
        {"name": _MODEL, **_model_volume(spec, resource)},
    ]
    prompt = spec.system_prompt.config_map
    if spec.system_prompt.source == "ConfigMap" and prompt is not None:
        config_map = {"name": prompt.name, "items": _one_key(prompt.key)}
        result.append({"name": _PROMPT, "configMap": config_map})
    if spec.gate.api_keys is not None:
        # Optional: with a missing Secret the pod would stay in ContainerCreating without a report.
        # The server refuses to start without a key, and its message names the Secret.
        secret = {"secretName": spec.gate.api_keys.secret, "items": _one_key(API_KEYS_FILE)}
        result.append({"name": _KEYS, "secret": {**secret, "optional": True}})
    return [*result, *(_configured(one) for one in spec.pod.volumes)]


def _configured(volume: Volume) -> dict[str, Any]:
    """Return a volume of the resource. The API server drops false and empty lists."""
    result: dict[str, Any] = without_empty(to_kubernetes(volume))
    claim = volume.persistent_volume_claim
    if claim is not None:
        source = {"claimName": claim.claim_name, **_READ_ONLY[claim.read_only]}
        result["persistentVolumeClaim"] = source
    return result


def _one_key(key: str) -> list[dict[str, str]]:
    """Return the one key to mount: nothing else of the object reaches the pod, whatever it holds.

    The API server rejects a path that leads out of the volume.
    """
    return [{"key": key, "path": key}]


def server_mounts(spec: Spec) -> list[dict[str, Any]]:
    """Return the mounts of the server, which only reads the model.

    Of the claim it can write to nothing but the directory of compiled code.
    """
    mounts = [*_writable_mounts(), {"name": _SHM, "mountPath": "/dev/shm"}]  # noqa: S108
    mounts.append({"name": _MODEL, "mountPath": MODELS, "readOnly": True})
    if keeps_compiled_code(spec):
        mounts.append({"name": _MODEL, "mountPath": COMPILE_CACHE, "subPath": COMPILED})
    if spec.system_prompt.source == "ConfigMap":
        # A directory, not a subPath: the kubelet updates only entire volumes.
        mounts.append({"name": _PROMPT, "mountPath": SYSTEM_PROMPT, "readOnly": True})
    if spec.gate.api_keys is not None:
        mounts.append({"name": _KEYS, "mountPath": API_KEYS, "readOnly": True})
    return [*mounts, *_configured_mounts(spec)]


def fetch_mounts(spec: Spec) -> list[dict[str, Any]]:
    """Return the mounts of the container that fetches the model."""
    mounts = [*_writable_mounts(), {"name": _MODEL, "mountPath": MODELS}]
    return [*mounts, *_configured_mounts(spec)]


def _configured_mounts(spec: Spec) -> list[dict[str, Any]]:
    """Return the mounts of the resource."""
    return [
        {"name": one.name, "mountPath": one.mount_path, **_READ_ONLY[one.read_only]}
        for one in spec.pod.volume_mounts
    ]


def _writable_mounts() -> list[dict[str, Any]]:
    return [
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108 - a volume, not a file name
        {"name": _HOME, "mountPath": "/home"},
    ]


def model_image(spec: Spec) -> dict[str, Any] | None:
    """Return the source of the volume with the model, if it is in an image."""
    image = spec.model.source.image
    if image is None:
        return None
    return {"image": {"reference": image.reference, "pullPolicy": image.pull_policy}}


def _model_volume(spec: Spec, resource: str) -> dict[str, Any]:
    source = spec.model.source
    if source.persistent_volume_claim is not None:
        claim = source.persistent_volume_claim.claim_name
        return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    image = model_image(spec)
    if image is not None:
        return image
    if spec.cache is not None:
        return {"persistentVolumeClaim": {"claimName": names.cache_claim(resource)}}
    return {"emptyDir": {"sizeLimit": _SIZE_LIMITS[_MODEL]}}
