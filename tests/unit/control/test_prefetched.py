"""A model is fetched before pods need it, and what serves goes on until then."""

import asyncio

import pytest

from builders import NAMESPACE, Object, merged
from fake_api_server import Write
from fake_objects import ApiError
from fake_workloads import is_ready
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_server.contract import FailureClass, TerminationReport
from operator_life import KEY, Life, play
from operator_scenarios import (
    ACTIVATORS,
    AUTOSCALED,
    PREFETCH,
    SLEEPER,
    UNTIL_RELEASED,
    bind_claim,
)

NEXT: Object = {"model": {"revision": "next"}}
JOB = Key(NAMESPACE, names.prefetch(KEY.name))
NO_TOKEN = TerminationReport(
    failure=FailureClass.MODEL_UNAVAILABLE,
    message="Cannot fetch a/b@next: the hub denied access: set a token with read access.",
)


def replicas(life: Life) -> list[Object]:
    """Return the pods of the Deployment."""
    return [pod for pod in life.pods() if names.LABEL_DEPLOYMENT in pod["metadata"]["labels"]]


def job(life: Life) -> Object | None:
    return life.objects.find(kinds.JOB, JOB)


def message(life: Life, kind: str = "Ready") -> str:
    return str(next(one["message"] for one in life.status["conditions"] if one["type"] == kind))


async def created(life: Life, spec: Object | None = None) -> None:
    """Create an endpoint with a prefetch, whose claim is bound at once."""
    await life.start()
    life.create(merged(PREFETCH, spec or {}))
    await asyncio.sleep(0.1)
    bind_claim(life)


async def ready(life: Life, spec: Object | None = None) -> None:
    """Bring an endpoint with a prefetch to where it answers."""
    await created(life, spec)
    await life.settle(UNTIL_RELEASED)
    assert life.reason() == "Ready", life.status


def test_the_model_is_there_before_the_first_pod() -> None:
    async def scenario(life: Life) -> None:
        await created(life)

        await asyncio.sleep(2)
        assert job(life) is not None
        assert (life.reason(), replicas(life)) == ("Prefetching", [])
        assert life.objects.find(kinds.DEPLOYMENT, KEY) is None
        assert "No pod starts until the model is fetched" in message(life)
        assert "the model is being fetched from the hub" in message(life)

        await life.settle()
        assert (life.reason(), len(replicas(life))) == ("Ready", 1)
        assert (life.workloads.jobs.fetched, job(life)) == (["main"], None)

    play(scenario)


def test_an_edit_of_the_model_waits_while_the_old_one_serves() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        before = replicas(life)

        life.edit(NEXT)
        await asyncio.sleep(2)
        assert replicas(life) == before
        assert life.reason() == "Prefetching"
        assert "1 replica of the earlier configuration answers" in message(life)
        assert life.reason("Progressing") == "Prefetching"
        assert life.reason("Available") == "Available"

        await life.settle()
        (pod,) = replicas(life)
        assert pod != before[0]
        assert life.reason() == "Ready"
        assert life.workloads.jobs.fetched == ["main", "next"]
        assert job(life) is None

    play(scenario)


def fails_next(settings: Object) -> TerminationReport | None:
    """Fail to fetch the next revision."""
    return NO_TOKEN if settings["revision"] == "next" else None


def test_a_fetch_that_fails_changes_nothing_of_what_serves_and_is_tried_again() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        before = replicas(life)
        life.workloads.jobs.fetch_result = fails_next

        life.edit(NEXT)
        await asyncio.sleep(60)
        assert replicas(life) == before
        assert (life.reason(), life.reason("Degraded")) == ("FetchFailed", "FetchFailed")
        assert "the hub denied access" in message(life)
        assert "1 replica of the earlier configuration answers" in message(life)

        life.workloads.jobs.fetch_result = lambda _: None
        await life.settle()
        assert (life.reason(), life.workloads.jobs.fetched[-1]) == ("Ready", "next")

    play(scenario)


REPAIRS: dict[str, tuple[Object, list[str]]] = {
    "another revision": ({"model": {"revision": "v2"}}, ["main", "v2"]),
    "the old revision": ({"model": {"revision": "main"}}, ["main"]),
    "no prefetch": ({"cache": {"prefetch": "Never"}}, ["main"]),
    "no cache": ({"cache": None}, ["main"]),
    "a model from a claim": (
        {"cache": None, "model": {"source": {"persistentVolumeClaim": {"claimName": "models"}}}},
        ["main"],
    ),
}


@pytest.mark.parametrize(("changes", "fetched"), REPAIRS.values(), ids=REPAIRS)
def test_another_edit_ends_a_fetch_that_fails(changes: Object, fetched: list[str]) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.workloads.jobs.fetch_result = fails_next
        life.edit(NEXT)
        await asyncio.sleep(30)
        assert job(life) is not None

        life.edit(changes)
        await life.settle()

        assert (life.reason(), job(life)) == ("Ready", None)
        assert life.workloads.jobs.fetched == fetched
        assert life.pods() == replicas(life)

    play(scenario)


def test_an_edit_that_the_job_runs_with_replaces_it() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.workloads.jobs.fetch_result = fails_next
        life.edit(NEXT)
        await asyncio.sleep(30)
        before = job(life)

        life.edit({"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}})
        await asyncio.sleep(3)
        after = job(life)
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] != before["metadata"]["uid"]

        life.workloads.jobs.fetch_result = lambda _: None
        await life.settle()
        assert life.reason() == "Ready"

    play(scenario)


@pytest.mark.parametrize(
    "changes",
    [{"replicas": 3}, {"replicas": 0}],
    ids=["more", "none"],
)
def test_replicas_follow_while_the_pods_wait(changes: Object) -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"replicas": 2})
        old = replicas(life)[0]["metadata"]["labels"]["pod-template-hash"]
        life.workloads.jobs.fetch_result = fails_next

        life.edit(merged(NEXT, changes))
        await asyncio.sleep(30)

        labels = [one["metadata"]["labels"]["pod-template-hash"] for one in replicas(life)]
        assert labels == [old] * changes["replicas"]
        assert life.reason() == "FetchFailed"

    play(scenario)


def test_what_autoscales_goes_on_to_while_the_pods_wait() -> None:
    async def scenario(life: Life) -> None:
        life.load = {"running": 5}
        await ready(life, AUTOSCALED)
        life.workloads.jobs.fetch_result = fails_next
        life.edit(NEXT)
        await asyncio.sleep(5)

        life.load = {"running": 20, "waiting": 5}
        await asyncio.sleep(60)

        assert len(replicas(life)) > 1
        assert life.reason() == "FetchFailed"

    play(scenario)


def test_what_is_scaled_to_zero_fetches_and_starts_the_old_model_meanwhile() -> None:
    async def scenario(life: Life) -> None:
        life.activators, life.load = ACTIVATORS, {"running": 1}
        await ready(life, SLEEPER)
        old = replicas(life)[0]["metadata"]["labels"]["pod-template-hash"]
        life.load = {}
        await life.settle(80)
        assert life.reason() == "Asleep"
        life.workloads.jobs.fetch_result = fails_next

        life.edit(NEXT)
        await asyncio.sleep(30)
        assert (life.reason(), replicas(life)) == ("FetchFailed", [])
        life.held = 1
        await asyncio.sleep(30)
        (pod,) = replicas(life)
        assert is_ready(pod)
        assert pod["metadata"]["labels"]["pod-template-hash"] == old

        life.held, life.load = 0, {"running": 1}
        life.workloads.jobs.fetch_result = lambda _: None
        await life.settle(80)
        assert life.reason() == "Ready"

    play(scenario)


def test_a_suspended_endpoint_fetches_when_it_is_resumed() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.edit({"suspend": True})
        await life.settle()

        life.edit(NEXT)
        await life.settle()
        assert (life.reason(), job(life)) == ("Suspended", None)
        assert life.workloads.jobs.fetched == ["main"]

        life.edit({"suspend": False})
        await asyncio.sleep(2)
        assert (life.reason(), replicas(life)) == ("Prefetching", [])
        await life.settle()
        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", ["main", "next"])

    play(scenario)


def test_suspending_ends_a_fetch() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.workloads.jobs.fetch_result = fails_next
        life.edit(NEXT)
        await asyncio.sleep(20)

        life.edit({"suspend": True})
        await life.settle()

        assert (life.reason(), job(life), life.pods()) == ("Suspended", None, [])

    play(scenario)


def test_resuming_an_endpoint_fetches_nothing_again() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)

        life.edit({"suspend": True})
        await life.settle()
        life.edit({"suspend": False})
        await life.settle()

        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", ["main"])

    play(scenario)


def test_a_claim_that_was_replaced_is_filled_before_pods_start() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.edit({"suspend": True})
        await life.settle()
        life.objects.delete(kinds.CLAIM, Key(NAMESPACE, names.cache_claim(KEY.name)))
        await asyncio.sleep(5)
        bind_claim(life)

        life.edit({"suspend": False})
        await asyncio.sleep(2)
        assert (life.reason(), replicas(life)) == ("Prefetching", [])
        await life.settle()

        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", ["main", "main"])

    play(scenario)


def test_a_paused_edit_is_fetched_and_waits() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        before = replicas(life)

        life.edit(merged(NEXT, {"rollout": {"paused": True}}))
        await life.settle()
        assert replicas(life) == before
        assert (life.reason(), life.reason("Progressing")) == ("Ready", "Paused")
        assert life.workloads.jobs.fetched == ["main", "next"]

        life.edit({"rollout": {"paused": False}})
        await life.settle()
        assert (life.reason(), job(life)) == ("Ready", None)
        assert replicas(life) != before

    play(scenario)


def test_turning_it_on_for_an_endpoint_that_serves_changes_no_pod_and_fetches_nothing() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"cache": {"prefetch": "Never"}})
        before = replicas(life)

        life.edit(PREFETCH)
        await life.settle()
        assert replicas(life) == before
        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", [])

        life.edit({"startupSeconds": 900})
        await life.settle()
        assert replicas(life) != before
        assert life.workloads.jobs.fetched == []

    play(scenario)


def test_a_first_start_that_is_under_way_is_left_alone() -> None:
    async def scenario(life: Life) -> None:
        await created(life, {"cache": {"prefetch": "Never"}})
        await asyncio.sleep(0.5)
        (before,) = replicas(life)

        life.edit(PREFETCH)
        await life.settle()

        (after,) = replicas(life)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", [])

    play(scenario)


def test_a_job_that_is_deleted_is_created_again_only_while_it_is_needed() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.edit(NEXT)
        await asyncio.sleep(2)

        life.objects.delete(kinds.JOB, JOB)
        await life.settle()

        assert (life.reason(), job(life)) == ("Ready", None)
        assert life.workloads.jobs.fetched == ["main", "next"]

    play(scenario)


def test_a_quota_that_rejects_the_pod_of_the_job_is_reported() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        before = replicas(life)
        life.workloads.jobs.rejection = (
            'pods "small-prefetch-x" is forbidden: exceeded quota: team, requested:'
            " requests.cpu=1, used: requests.cpu=4, limited: requests.cpu=4"
        )

        life.edit(NEXT)
        await asyncio.sleep(30)

        assert replicas(life) == before
        assert life.reason() == "PodRejected"
        assert "ResourceQuota team has no room for requests.cpu: raise it" in message(life)
        assert "the pod of Job small-prefetch" in message(life)
        assert "1 replica of the earlier configuration answers" in message(life)

    play(scenario)


def test_a_job_that_the_api_server_rejects_is_reported() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        before = replicas(life)

        async def reject(write: Write) -> None:
            if write.kind == "Job":
                raise ApiError(403, "Forbidden", "exceeded quota: team, requested: count/jobs=1")

        life.api.before_write = reject
        life.edit(NEXT)
        await asyncio.sleep(20)

        assert replicas(life) == before
        assert life.reason() == "ApplyFailed"
        assert "Job small-prefetch" in message(life)

    play(scenario)


def test_a_sidecar_that_never_ends_does_not_keep_the_pods_from_starting() -> None:
    async def scenario(life: Life) -> None:
        life.workloads.jobs.has_sidecar = True

        await ready(life)

        assert (len(life.pods()), job(life)) == (1, None)

    play(scenario)


def test_without_a_node_with_gpus_the_pods_fetch_themselves() -> None:
    """Where the volume belongs is not known then, and only a pod makes an autoscaler add a node."""

    async def scenario(life: Life) -> None:
        life.objects.remove(kinds.NODE, Key("", "gpu-0"))
        await life.start()
        life.create(PREFETCH)
        await asyncio.sleep(2)
        assert (len(replicas(life)), job(life)) == (1, None)

        bind_claim(life)
        await life.settle()
        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", [])

        life.edit(NEXT)
        await life.settle()
        assert (life.reason(), life.workloads.jobs.fetched) == ("Ready", ["next"])

    play(scenario)


def test_the_activators_take_over_when_the_model_is_there() -> None:
    async def scenario(life: Life) -> None:
        life.activators = ACTIVATORS
        await ready(life)
        life.edit(NEXT)
        await asyncio.sleep(2)
        assert life.reason("Holding") == ""

        await asyncio.sleep(3)
        assert life.reason("Holding") == "Holding"
        await life.settle(UNTIL_RELEASED)
        assert (life.reason(), life.reason("Holding")) == ("Ready", "")

    play(scenario)


def test_deleting_the_resource_deletes_the_job() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.edit(NEXT)
        await asyncio.sleep(2)

        life.delete()
        await life.settle()

        assert (job(life), life.pods()) == (None, [])

    play(scenario)
