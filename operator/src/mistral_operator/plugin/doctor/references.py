"""Checks of objects that endpoints name: StorageClasses and Secrets. Pure."""

from collections.abc import Iterator

from mistral_operator.api import ConditionType
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.kube.names import KIND
from mistral_operator.kube.objects import is_default_class
from mistral_operator.plugin.doctor.rendered import secret_names
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, label, name_of


def storage_classes(snapshot: Snapshot) -> Iterator[Finding]:
    """Find caches whose claim no StorageClass can provide."""
    if snapshot.storage_classes is None:
        return
    existing = {one["metadata"]["name"] for one in snapshot.storage_classes}
    has_default = any(map(is_default_class, snapshot.storage_classes))
    bound = _bound(snapshot)
    for resource in snapshot.endpoints():
        cache = resource.spec.cache
        if cache is None or label(resource) in bound:
            continue
        name = cache.storage_class_name
        if name is None and not has_default:
            yield Finding(
                label(resource),
                "spec.cache names no StorageClass, and the cluster has no default",
                "set spec.cache.storageClassName, or make a StorageClass the default",
            )
        elif name is not None and name not in existing:
            yield Finding(
                label(resource),
                f"StorageClass {name} of spec.cache does not exist",
                f"set spec.cache.storageClassName to one of {', '.join(sorted(existing)) or 'none'}"
                if existing
                else "create it",
            )


def _bound(snapshot: Snapshot) -> set[str]:
    """Return the names of endpoints whose claim has a volume, which needs no class any more."""
    return {
        name_of(KIND, body)
        for body in snapshot.resources or ()
        for one in parse_status(body.get("status")).status.conditions
        if one.type == ConditionType.CACHE_BOUND and one.status == "True"
    }


def secrets(snapshot: Snapshot) -> Iterator[Finding]:
    """Find Secrets that do not exist."""
    for resource in snapshot.endpoints():
        for name in sorted(secret_names(resource.spec)):
            if snapshot.secrets.get(name, True):
                continue
            yield Finding(
                f"Secret {resource.namespace}/{name}",
                f"does not exist, and {label(resource)} names it",
                "create it, or correct the name",
            )
