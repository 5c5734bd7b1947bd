"""One reconciliation after another: what is written, and in which order."""

import asyncio

from builders import NAMESPACE, Object, merged
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_server.contract import FailureClass
from operator_life import KEY, Life, play
from operator_scenarios import ACTIVATORS, AUTOSCALED, BUSY, SLEEPER, report_of
from reconciliations import fail, ready, verbs

TOO_LONG: Object = {"engine": {"contextLength": 131_072}, "oom": {"policy": "Apply"}}
"""An endpoint whose context does not fit, and is made to."""


def test_a_new_resource_gets_its_children_and_one_status_for_all_of_them() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await asyncio.sleep(1.0)

        assert verbs(life, 0) == ["apply"] * 5 + ["status"]
        assert life.reason() == "Starting"

    play(scenario)


def test_autoscaling_and_memory_are_recorded_by_one_write_before_anything_is_done() -> None:
    async def scenario(life: Life) -> None:
        life.load = {"running": 1}
        start = await ready(life, merged(AUTOSCALED, TOO_LONG))

        life.watch_seconds = 0.3  # both are known when the pass begins
        life.edit({"suspend": True})
        fail(life, FailureClass.KV_CACHE_TOO_SMALL)
        await life.settle()

        assert verbs(life, start)[:2] == ["status", "apply"]
        first = next(
            event
            for event in life.objects.feed
            if event.kind == kinds.RESOURCE and "oom" in event.body.get("status", {})
        )
        assert first.body["status"]["autoscaling"]["reason"] == "Stopped"
        assert first.body["status"]["oom"]["overrides"] == {"contextLength": 57_344}
        assert {"Stopped", "KVCacheTooSmall", "RemedyApplied"} <= {*life.event_reasons()}

    play(scenario)


def test_a_resource_that_nothing_happens_to_costs_nothing_and_neither_does_a_restart() -> None:
    async def scenario(life: Life) -> None:
        writes = await ready(life)

        await life.settle(3600)
        life.kill()
        await life.settle(3600)

        assert len(life.api.writes) == writes
        assert life.starts == 2

    play(scenario)


def test_a_restart_writes_nothing_after_an_endpoint_was_stopped() -> None:
    async def scenario(life: Life) -> None:
        life.workloads.start_result = lambda _: report_of(FailureClass.CUDA_OOM_LOAD)
        await life.start()
        life.create()
        await life.settle(80)
        assert (life.reason(), life.pods()) == ("CrashLoop", [])
        writes = len(life.api.writes)

        life.kill()
        await life.settle()

        assert life.api.writes[writes:] == []

    play(scenario)


def test_a_remedy_has_helped_when_the_quiet_period_is_over() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, merged(TOO_LONG, {"oom": {"quietSeconds": 900}}))
        fail(life, FailureClass.KV_CACHE_TOO_SMALL)
        await life.settle()
        (step,) = life.status["oom"]["steps"]
        assert (step["after"], step["outcome"]) == ("57344", "Trying")

        await life.settle(950)

        (step,) = life.status["oom"]["steps"]
        assert step["outcome"] == "Helped"

    play(scenario)


def test_a_failure_of_a_pod_that_is_deleted_at_once_counts() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        fail(life)
        for pod in life.pods():
            life.objects.delete(kinds.POD, Key(NAMESPACE, pod["metadata"]["name"]))
        await life.settle()

        assert life.status["oom"]["totals"] == [{"class": "CudaOomLoad", "count": 1}]

    play(scenario)


def test_a_deleted_resource_leaves_nothing_behind() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        assert life.operator is not None
        assert KEY in life.operator.fleet.statuses

        life.delete()
        await life.settle()

        assert life.operator.fleet.statuses == {}
        assert [one for one, _ in life.objects.stored if one != kinds.EVENT] == [kinds.NODE]

    play(scenario)


def test_an_activator_that_comes_later_lets_an_endpoint_scale_to_zero() -> None:
    async def scenario(life: Life) -> None:
        spec = merged(SLEEPER, {"autoscaling": {"driver": "External"}})
        await ready(life, spec)
        life.edit({"replicas": 0})
        await life.settle()
        assert len(life.pods()) == 1
        assert life.reason("ScalingLimited") == "ActivatorMissing"

        life.activators = ACTIVATORS
        await life.settle()

        assert (life.pods(), life.reason()) == ([], "Asleep")

    play(scenario)


def test_load_adds_replicas_and_says_why() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, AUTOSCALED)
        life.load = BUSY
        await life.settle()

        assert len(life.pods()) == life.status["desiredReplicas"] == 3
        assert life.status["autoscaling"]["reason"] == "ScaledUp"
        assert "ScaledUp" in life.event_reasons()

    play(scenario)
