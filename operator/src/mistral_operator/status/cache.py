"""The claim of the cache, in words that name cause and remedy."""

from typing import Literal, NamedTuple

from mistral_operator.api import Reason
from mistral_operator.api.model import MODEL_BYTES
from mistral_operator.kube.quantities import quantity_bytes
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Verdict, stuck
from mistral_operator.watch.facts import ClaimFacts


class CacheVerdict(NamedTuple):
    """The condition CacheBound."""

    status: Literal["True", "False"]
    reason: Reason
    message: str


def cache_bound(status_input: StatusInput) -> CacheVerdict | None:
    """Return the condition, None for an endpoint without a cache or while it has no claim."""
    claim = status_input.observed.claim
    if claim is None:
        return None
    if not claim.usable:
        return CacheVerdict("False", Reason.CLAIM_PENDING, not_bound(claim))
    if is_on_one_node(claim) and status_input.resource.spec.most_replicas > 1:
        return CacheVerdict("True", Reason.ONE_NODE, _one_node(claim))
    if (model := MODEL_BYTES.get(status_input.resource.spec.model.id)) is not None and (
        quantity_bytes(claim.size) < model
    ):
        return CacheVerdict(
            "True",
            Reason.CACHE_TOO_SMALL,
            f"PersistentVolumeClaim {claim.name} has {claim.size}, and the model takes"
            f" {model / 1e9:.0f} GB: increase spec.cache.size, unless its storage does not limit"
            " the size",
        )
    modes = ", ".join(claim.access_modes)
    return CacheVerdict(
        "True", Reason.BOUND, f"PersistentVolumeClaim {claim.name} has {claim.size} ({modes})"
    )


def not_bound(claim: ClaimFacts) -> str:
    """Say that a claim is not bound, and why."""
    cause = claim.cause or "waiting for its volume"
    return f"PersistentVolumeClaim {claim.name} is not bound: {cause}"


def is_on_one_node(claim: ClaimFacts) -> bool:
    """Whether only pods of one node can use a claim."""
    return claim.access_modes == ("ReadWriteOnce",)


def _one_node(claim: ClaimFacts) -> str:
    return (
        f"PersistentVolumeClaim {claim.name} is ReadWriteOnce, so all replicas run on one node, and"
        " a replica on another one does not start. To use several, delete the claim while the"
        " endpoint is suspended, with spec.cache.accessMode set to ReadWriteMany"
    )


def claim(status_input: StatusInput) -> Verdict | None:
    """The claim of the cache is not bound until someone acts."""
    facts = status_input.observed.claim
    if facts is None or facts.usable or not facts.hopeless:
        return None
    return stuck(Reason.CLAIM_PENDING, not_bound(facts))
