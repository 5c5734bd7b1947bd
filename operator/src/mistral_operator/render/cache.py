"""The PersistentVolumeClaim that keeps a fetched model between restarts."""

from mistral_operator.api import Resource, Spec
from mistral_operator.api.pod import AccessMode, Cache
from mistral_operator.kube import names
from mistral_operator.kube.quantities import parse_quantity
from mistral_operator.render.metadata import KubernetesObject, child
from mistral_operator.watch.facts import ClaimFacts


def cache_claim(resource: Resource, cache: Cache, existing: ClaimFacts | None) -> KubernetesObject:
    """Return the claim.

    Of a bound claim, the fields that cannot change are rendered as they are: the API server would
    reject the whole claim.
    """
    modes: list[str] = [cache.access_mode or default_access_mode(resource.spec)]
    storage_class, size = cache.storage_class_name, cache.size
    if existing is not None and (existing.bound or cache.access_mode is None):
        modes = list(existing.access_modes)
    if existing is not None and existing.bound:
        storage_class = existing.storage_class
        size = max(size, existing.size, key=parse_quantity)
    spec: dict[str, object] = {
        "accessModes": modes,
        "resources": {"requests": {"storage": size}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    claim = child(
        resource, "v1", "PersistentVolumeClaim", names.cache_claim(resource.name), spec=spec
    )
    if cache.when_deleted == "Retain":
        # The garbage collector deletes what has an owner.
        del claim["metadata"]["ownerReferences"]
    return claim


def default_access_mode(spec: Spec) -> AccessMode:
    """Return the access mode of a new claim: most StorageClasses offer only ReadWriteOnce."""
    return "ReadWriteOnce" if spec.most_replicas <= 1 else "ReadWriteMany"
