"""The fake controllers and kubelet play what the operator sees of the real ones."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from builders import CONTEXT, NAME, NAMESPACE, Object, merged, resource, termination
from fake_objects import FakeObjects
from fake_workloads import BACKOFF_SECONDS, FakeWorkloads, is_ready, settings_of
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_operator.render import children
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import FailureClass, TerminationReport
from virtual_time import run

KEY = Key(NAMESPACE, NAME)
REPORT = TerminationReport.model_validate_json(termination(FailureClass.CUDA_OOM_LOAD, "no room"))


class Workload:
    """A cluster with a resource and its Deployment."""

    def __init__(self, replicas: int = 2) -> None:
        self.objects = FakeObjects()
        self.controllers = FakeWorkloads(self.objects)
        owner = self.objects.create(
            kinds.RESOURCE, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {}}
        )
        owner_resource = resource({"replicas": replicas}, uid=owner["metadata"]["uid"])
        self.deployment = next(
            child for child in children(owner_resource, CONTEXT) if child["kind"] == "Deployment"
        )
        self.objects.create(kinds.DEPLOYMENT, self.deployment)

    def edit(self, changes: Object) -> None:
        """Edit the Deployment."""
        self.objects.update(kinds.DEPLOYMENT, KEY, lambda live: merged(live, changes))

    def pods(self) -> list[Object]:
        """Return the pods."""
        return list(self.objects.all(kinds.POD))

    def facts(self) -> DeploymentFacts:
        """Return what the Deployment says."""
        return deployment_facts(self.objects.get(kinds.DEPLOYMENT, KEY))


def played(play: Callable[[Workload], Coroutine[Any, Any, None]], replicas: int = 2) -> None:
    """Play something in a workload of its own."""

    async def scenario() -> None:
        workload = Workload(replicas)
        await asyncio.sleep(10)
        await play(workload)
        workload.controllers.stop()

    run(scenario())


def test_replicas_become_ready_pods_with_the_settings_of_the_template() -> None:
    async def play(workload: Workload) -> None:
        assert workload.facts().settled
        assert workload.facts().ready == 2
        facts = [pod_facts(pod) for pod in workload.pods()]
        assert all(one.ready and one.owner == NAME and one.configuration for one in facts)
        assert "engine" in settings_of(workload.pods()[0])

    played(play)


def test_a_rollout_takes_one_pod_away_before_it_makes_the_next() -> None:
    async def play(workload: Workload) -> None:
        workload.edit({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}})
        counts, ready = set(), set()
        while not workload.facts().settled:
            counts.add(len(workload.pods()))
            ready.add(sum(map(is_ready, workload.pods())))
            await asyncio.sleep(0.02)
        assert (max(counts), min(ready)) == (2, 1)
        assert all(pod["metadata"]["annotations"].get("a") for pod in workload.pods())

    played(play)


def test_replicas_come_and_go_with_their_number() -> None:
    async def play(workload: Workload) -> None:
        for replicas in (3, 1, 0):
            workload.edit({"spec": {"replicas": replicas}})
            await asyncio.sleep(10)
            assert (len(workload.pods()), workload.facts().settled) == (replicas, True)

    played(play)


def test_a_pod_that_is_deleted_is_replaced() -> None:
    async def play(workload: Workload) -> None:
        (before,) = workload.pods()
        workload.objects.delete(kinds.POD, Key(NAMESPACE, before["metadata"]["name"]))
        await asyncio.sleep(10)
        (after,) = workload.pods()
        assert before["metadata"]["uid"] != after["metadata"]["uid"]

    played(play, replicas=1)


def test_a_container_that_fails_leaves_its_report_and_starts_again() -> None:
    async def play(workload: Workload) -> None:
        workload.controllers.start_result = lambda _: REPORT
        (pod,) = workload.pods()
        workload.controllers.fail(Key(NAMESPACE, pod["metadata"]["name"]), REPORT)
        identities = set()
        for restarts in (1, 2, 3):
            (container,) = pod_facts(workload.pods()[0]).containers
            assert (container.restarts, container.ready) == (restarts, False)
            assert container.report == REPORT
            identities.add(container.exits[-1].identity)
            await asyncio.sleep(BACKOFF_SECONDS + 3)
        assert len(identities) == 3
        workload.controllers.start_result = lambda _: None
        await asyncio.sleep(BACKOFF_SECONDS + 3)
        assert is_ready(workload.pods()[0])

    played(play, replicas=1)


def test_a_quota_keeps_pods_from_being_made() -> None:
    async def play(workload: Workload) -> None:
        workload.controllers.pod_error = "exceeded quota"
        workload.edit({"spec": {"replicas": 3}})
        await asyncio.sleep(10)
        assert len(workload.pods()) == 2
        assert workload.facts().replica_failure == "exceeded quota"

    played(play)


def test_what_belongs_to_an_object_that_is_gone_goes_too() -> None:
    async def play(workload: Workload) -> None:
        workload.objects.delete(kinds.RESOURCE, KEY)
        await asyncio.sleep(10)
        assert workload.pods() == []
        assert workload.objects.find(kinds.DEPLOYMENT, KEY) is None

        workload.objects.create(kinds.DEPLOYMENT, workload.deployment)
        await asyncio.sleep(10)
        assert workload.objects.find(kinds.DEPLOYMENT, KEY) is None, "its owner never comes back"

    played(play)
