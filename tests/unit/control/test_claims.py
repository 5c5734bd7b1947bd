"""The claim of a cache: why it is not bound, and how a change of the spec is handled."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from api_server import ApiServer
from builders import NAMESPACE, Object, merged, resource
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from in_process_client import connected
from mistral_operator.api import Reason
from mistral_operator.control.claims import differing, explained
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.watch.facts import ClaimFacts
from operator_life import Life, play

CLAIM = Key(NAMESPACE, "small-model-cache")
PENDING = ClaimFacts(CLAIM.name, "uid-of-claim", "80Gi", ("ReadWriteOnce",))
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


def storage_class(name: str, **annotations: str) -> Object:
    """Return a StorageClass."""
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com"}


def event(reason: str, message: str, at: str = "2026-03-01T12:00:00Z", **fields: Any) -> Object:
    """Return an Event about the claim."""
    return {
        "metadata": {"name": f"{reason}.{at}".lower(), "namespace": NAMESPACE},
        "involvedObject": {"uid": PENDING.uid},
        "reason": reason,
        "message": message,
        "type": "Normal",
        "lastTimestamp": at,
        **fields,
    }


async def explain(claim: ClaimFacts, classes: list[Object], events: list[Object]) -> ClaimFacts:
    """Return the claim as explained by a cluster with these objects."""
    api = FakeApiServer()
    for one in classes:
        api.objects.create(kinds.STORAGE_CLASS, one)
    for one in events:
        api.objects.create(kinds.EVENT, one)
    async with connected(api) as cluster:
        return await explained(cluster, NAMESPACE, claim)


SLOW = replace(PENDING, storage_class="slow")
SHARED = replace(SLOW, access_modes=("ReadWriteMany",))
CLASSES = [storage_class("slow"), storage_class("fast", **DEFAULT)]
WAITS = event("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
UNSUPPORTED = event("ProvisioningFailed", "only ReadWriteOnce is supported", type="Warning")

EXPLAINED: dict[str, tuple[ClaimFacts, list[Object], list[Object], bool, list[str]]] = {
    "its class does not exist": (
        replace(PENDING, storage_class="gone"),
        CLASSES,
        [],
        True,
        ["StorageClass gone does not exist", "correct spec.cache.storageClassName"],
    ),
    "there is no default class": (
        PENDING,
        [storage_class("slow")],
        [event("FailedBinding", "no storage class is set")],
        True,
        ["no StorageClass is the default", "Kubernetes reports: FailedBinding: no storage class"],
    ),
    "the default class is about to be set": (PENDING, CLASSES, [], False, []),
    "a volume is made once a pod has a node": (
        SLOW, CLASSES, [WAITS], False, ["WaitForFirstConsumer: waiting for first consumer"]
    ),
    "its volume is gone": (
        replace(SLOW, bound=True, phase="Lost"),
        CLASSES,
        [event("ClaimLost", "Bound claim has lost its PersistentVolume", type="Warning")],
        True,
        ["its volume no longer exists: suspend the endpoint, delete the claim", "ClaimLost"],
    ),
    "it waits for the volume that it names": (
        replace(SLOW, bound=True, phase="Pending"), CLASSES, [], False, []
    ),
    "the class does not offer the mode": (
        SHARED, CLASSES, [UNSUPPORTED], True, ["set spec.cache.accessMode to ReadWriteOnce", "only"]
    ),
    "the class fails otherwise": (
        SLOW,
        CLASSES,
        [event("ProvisioningFailed", "quota", type="Warning")],
        True,
        ["Kubernetes reports: ProvisioningFailed: quota"],
    ),
    "a failure is over": (
        SLOW,
        CLASSES,
        [UNSUPPORTED, event("ExternalProvisioning", "waiting", "2026-03-01T12:00:05Z")],
        False,
        ["ExternalProvisioning: waiting"],
    ),
    "an Event is about another claim": (
        SLOW, CLASSES, [event("FailedBinding", "x", involvedObject={"uid": "other"})], False, []
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "classes", "events", "hopeless", "parts"), EXPLAINED.values(), ids=EXPLAINED
)
async def test_a_claim_that_is_not_bound_says_why(
    claim: ClaimFacts, classes: list[Object], events: list[Object], hopeless: bool, parts: list[str]
) -> None:
    result = await explain(claim, classes, events)

    assert result.hopeless == hopeless
    assert bool(result.cause) == bool(parts)
    for part in parts:
        assert part in result.cause


@pytest.mark.parametrize("claim", [PENDING, SLOW])
async def test_without_permissions_nothing_is_said(
    cluster: Cluster, api: ApiServer, claim: ClaimFacts
) -> None:
    api.status, api.answer = 403, {"kind": "Status", "message": "forbidden"}

    assert await explained(cluster, NAMESPACE, claim) == claim


async def test_an_unreachable_api_server_says_nothing_about_a_claim(
    cluster: Cluster, api: ApiServer
) -> None:
    api.status, api.answer = 503, {"kind": "Status", "message": "later"}

    with pytest.raises(Unavailable):
        await explained(cluster, NAMESPACE, SLOW)


BOUND = ClaimFacts(CLAIM.name, "uid", "80Gi", ("ReadWriteMany",), "slow", bound=True)
DIFFERING: dict[str, tuple[Object, list[str]]] = {
    "access mode": (
        {"accessMode": "ReadWriteOnce"},
        ["spec.cache.accessMode cannot change from ReadWriteMany to ReadWriteOnce"],
    ),
    "class": (
        {"storageClassName": "fast"},
        ["spec.cache.storageClassName cannot change from slow to fast", "deletes the fetched"],
    ),
    "both": (
        {"storageClassName": "fast", "accessMode": "ReadWriteOnce"},
        ["accessMode cannot change", " and spec.cache.storageClassName cannot change"],
    ),
}


@pytest.mark.parametrize(("cache", "parts"), DIFFERING.values(), ids=DIFFERING)
def test_what_of_a_bound_claim_cannot_change_is_said(cache: Object, parts: list[str]) -> None:
    problem = differing(resource({"cache": cache}), BOUND)

    assert problem is not None
    assert problem.reason is Reason.CLAIM_DIFFERS
    for part in parts:
        assert part in problem.message


@pytest.mark.parametrize("cache", [{}, {"size": "1Gi"}, {"storageClassName": "slow"}])
def test_what_a_claim_has_is_no_difference(cache: Object) -> None:
    assert differing(resource({"cache": cache}), BOUND) is None
    assert differing(resource({"cache": cache}), replace(BOUND, bound=False)) is None
    assert differing(resource({"cache": cache}), None) is None


# --- One reconciliation after another -------------------------------------------------------------


def claim_of(life: Life) -> Object:
    """Return the claim."""
    body = life.objects.find(kinds.CLAIM, CLAIM)
    assert body is not None
    return body


def bind(life: Life) -> None:
    """Give the claim a volume."""
    life.objects.update(
        kinds.CLAIM, CLAIM, lambda live: merged(live, {"spec": {"volumeName": "pvc-1"}})
    )


def test_a_claim_is_corrected_as_long_as_it_is_not_bound() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"replicas": 0, "cache": {"accessMode": "ReadWriteMany"}})
        await life.settle()

        life.edit({"cache": {"accessMode": "ReadWriteOnce", "storageClassName": "fast"}})
        await life.settle()

        assert claim_of(life)["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert claim_of(life)["spec"]["storageClassName"] == "fast"
        assert life.reason() == "ScaledToZero"

    play(scenario)


def test_a_claim_that_lost_its_volume_is_named_and_left_alone() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"cache": {}})
        await life.settle()
        bind(life)
        lost = {"status": {"phase": "Lost"}}
        life.objects.update(kinds.CLAIM, CLAIM, lambda live: merged(live, lost), status=True)
        await life.settle()
        uid = claim_of(life)["metadata"]["uid"]

        life.edit({"cache": {"storageClassName": "fast"}})
        await life.settle()

        assert claim_of(life)["metadata"]["uid"] == uid
        assert life.reason("CacheBound") == "ClaimPending"

    play(scenario)


def test_a_bound_claim_is_left_alone_and_the_status_says_so() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"replicas": 0, "cache": {"accessMode": "ReadWriteMany"}})
        await life.settle()
        bind(life)
        await life.settle()
        uid = claim_of(life)["metadata"]["uid"]

        life.edit({"cache": {"accessMode": "ReadWriteOnce"}})
        await life.settle()

        assert (claim_of(life)["metadata"]["uid"], life.reason()) == (uid, "ClaimDiffers")
        life.edit({"cache": {"accessMode": None, "size": "200Gi"}})
        await life.settle()
        assert claim_of(life)["spec"]["resources"]["requests"]["storage"] == "200Gi"
        assert life.reason() == "ScaledToZero"
        assert life.reason("CacheBound") == "Bound"

    play(scenario)


def test_a_claim_that_is_bound_at_the_same_moment_is_not_deleted() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"replicas": 0, "cache": {"accessMode": "ReadWriteMany"}})
        await life.settle()
        uid = claim_of(life)["metadata"]["uid"]

        async def bind_first(write: Any) -> None:
            if write.verb == "delete" and not claim_of(life)["spec"].get("volumeName"):
                bind(life)

        life.api.before_write = bind_first
        life.edit({"cache": {"accessMode": "ReadWriteOnce"}})
        await life.settle()

        assert (claim_of(life)["metadata"]["uid"], life.reason()) == (uid, "ClaimDiffers")

    play(scenario)


def test_without_the_permission_the_claim_stays_and_the_status_names_it() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"replicas": 0, "cache": {"accessMode": "ReadWriteMany"}})
        await life.settle()

        async def forbid(write: Any) -> None:
            if write.verb == "delete":
                raise ApiError(403, "Forbidden", "cannot delete resource")

        life.api.before_write = forbid
        life.edit({"cache": {"accessMode": "ReadWriteOnce"}})
        await asyncio.sleep(30)

        assert life.reason() == "ApplyFailed"
        message = life.status["conditions"][0]["message"]
        assert "cannot delete PersistentVolumeClaim small-model-cache" in message

    play(scenario)


@pytest.mark.parametrize(("policy", "stays"), [("Delete", False), ("Retain", True)])
def test_a_retained_claim_outlives_its_resource_and_serves_the_next_one(
    policy: str, stays: bool
) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"replicas": 0, "cache": {"whenDeleted": policy}})
        await life.settle()
        bind(life)
        await life.settle()
        uid = claim_of(life)["metadata"]["uid"]

        life.delete()
        await life.settle()
        assert (life.objects.find(kinds.CLAIM, CLAIM) is not None) == stays

        life.create({"replicas": 0, "cache": {"whenDeleted": policy}})
        await life.settle()
        assert (claim_of(life)["metadata"]["uid"] == uid) == stays
        assert life.reason() == "ScaledToZero"

    play(scenario)
