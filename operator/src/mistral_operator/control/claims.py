"""The claim of a cache: what it is, why it is not bound, and what of it cannot change."""

from dataclasses import dataclass, replace

from mistral_operator.api import Reason, Resource
from mistral_operator.api.status import Problem
from mistral_operator.apply.plan import is_ours
from mistral_operator.control.events_about import events_about
from mistral_operator.kube import names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import CLAIM, STORAGE_CLASS
from mistral_operator.kube.objects import Key, is_default_class
from mistral_operator.watch.facts import ClaimFacts, claim_facts
from mistral_operator.watch.pod_events import last_seen
from mistral_operator.watch.store import Store

PENDING_SECONDS = 30.0
"""Time until a claim that is not bound is looked at again: neither Events nor StorageClasses are
watched."""

_FAILED = {"FailedBinding", "ProvisioningFailed"}
"""Reasons of Events about a claim that needs help; Kubernetes posts the first one as normal."""


def cache_claim_facts(store: Store, resource: Resource) -> ClaimFacts | None:
    """Return the claim of a resource's cache, None if there is none that belongs to it."""
    if resource.spec.cache is None:
        return None
    key = Key(resource.namespace, names.cache_claim(resource.name))
    child = store.children[CLAIM].get(key)
    if child is None or not is_ours(child, resource.uid):
        return None
    return replace(claim_facts(child.object(), child.uid), phase=child.phase)


def differing(resource: Resource, claim: ClaimFacts | None) -> Problem | None:
    """Return what the spec wants of a bound claim that cannot change any more."""
    cache = resource.spec.cache
    if cache is None or claim is None or not claim.usable:
        return None
    differences: list[tuple[str, str, str]] = []
    if cache.access_mode is not None and (cache.access_mode,) != claim.access_modes:
        differences.append(("accessMode", ", ".join(claim.access_modes), cache.access_mode))
    if cache.storage_class_name not in {None, claim.storage_class}:
        differences.append(
            ("storageClassName", claim.storage_class or "unset", cache.storage_class_name)
        )
    if not differences:
        return None
    changes = " and ".join(
        f"spec.cache.{field} cannot change from {before} to {after}"
        for field, before, after in differences
    )
    return Problem(
        Reason.CLAIM_DIFFERS,
        f"{changes}: PersistentVolumeClaim {claim.name} is bound and is used as it is. Set the"
        " field back; or suspend the endpoint, delete the claim, and resume: this deletes the"
        " fetched model, and the operator creates the claim anew",
    )


@dataclass(frozen=True, slots=True)
class Remedies:
    """What to do about a claim that is not bound, besides creating what is missing."""

    other_class: str
    """Where its StorageClass does not exist."""
    any_class: str
    """Where it names none, and none is the default."""
    other_mode: str
    """Where its StorageClass may not offer ReadWriteMany."""
    lost: str
    """Where the volume that it was bound to is gone."""


OF_CACHE = Remedies(
    other_class="correct spec.cache.storageClassName",
    any_class="set spec.cache.storageClassName",
    other_mode=(
        "set spec.cache.accessMode to ReadWriteOnce, with which all replicas run on one node"
    ),
    lost=(
        "suspend the endpoint, delete the claim, and resume: the operator creates it anew, and the"
        " model is fetched again"
    ),
)
OF_ANOTHER = Remedies(
    other_class="replace the claim by one of another class",
    any_class="replace the claim by one that names a class",
    other_mode="replace the claim by one with another access mode",
    lost="replace the claim",
)
"""For a claim that the operator did not create."""


async def explained(
    cluster: Cluster, namespace: str, claim: ClaimFacts, remedies: Remedies = OF_CACHE
) -> ClaimFacts:
    """Return a claim that is not bound with the cause, as far as the operator may look.

    Raises:
        Unavailable: the API server cannot be reached.
    """
    missing = (
        f"its volume no longer exists: {remedies.lost}"
        if claim.phase == "Lost"
        else await _missing_class(cluster, claim, remedies)
    )
    events = await events_about(cluster, namespace, claim.uid)
    event = max(events, key=last_seen, default=None)
    causes = [missing] if missing else []
    failed = False
    if event is not None:
        failed = event.get("reason") in _FAILED or event.get("type") == "Warning"
        reason, message = event.get("reason", ""), event.get("message", "")
        causes.append(f"Kubernetes reports: {reason}: {message}")
    if failed and not missing and claim.access_modes == ("ReadWriteMany",):
        causes.insert(
            0,
            f"check that its StorageClass offers ReadWriteMany, or {remedies.other_mode}",
        )
    return replace(claim, cause=". ".join(causes), hopeless=bool(missing) or failed)


async def _missing_class(cluster: Cluster, claim: ClaimFacts, remedies: Remedies) -> str:
    """Return what is wrong with the StorageClass of a claim, empty if nothing is known to be."""
    if claim.storage_class == "":
        return ""  # its volume has no class either, and an administrator creates it
    try:
        if claim.storage_class:
            if await cluster.get(STORAGE_CLASS, "", claim.storage_class) is not None:
                return ""
            return (
                f"StorageClass {claim.storage_class} does not exist: create it, or"
                f" {remedies.other_class}"
            )
        classes = await cluster.list_some(STORAGE_CLASS, None)
    except Unavailable:
        raise
    except ClusterError:
        return ""  # without the permission
    if any(is_default_class(one) for one in classes):
        return ""
    return (
        f"no StorageClass is the default of the cluster: {remedies.any_class}, or mark one as the"
        " default"
    )
