"""The PersistentVolumeClaim that keeps a fetched model between restarts."""

from mistral_operator.api import Resource
from mistral_operator.api.pod import Cache
from mistral_operator.kube import names
from mistral_operator.render.metadata import KubernetesObject, child


def cache_claim(resource: Resource, cache: Cache) -> KubernetesObject:
    """Return the claim. Like every child it is deleted with its resource."""
    spec: dict[str, object] = {
        "accessModes": [cache.access_mode],
        "resources": {"requests": {"storage": cache.size}},
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    return child(
        resource, "v1", "PersistentVolumeClaim", names.cache_claim(resource.name), spec=spec
    )
