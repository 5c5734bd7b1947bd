"""The Service leads to a router that is ready, and what a router needs outlives its pods."""

import asyncio
from collections.abc import Callable

import pytest

import fake_workloads
from builders import CONTEXT, NAMESPACE, Object, resource
from fake_objects import ApiError, WatchEvent
from fake_workloads import is_ready
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.render import children
from operator_life import KEY, Life, play
from operator_scenarios import ACTIVATORS, SLEEPER, UNTIL_RELEASED
from reconciliations import reject

PREFIX: Object = {"replicas": 2, "routing": {"policy": "Prefix"}}
ROUTER = Key(NAMESPACE, names.router(KEY.name))
NEEDED = [
    (kinds.SERVICE, names.replicas_service(KEY.name)),
    (kinds.SERVICE, names.activator_service(KEY.name)),
    (kinds.NETWORK_POLICY, ROUTER.name),
    (kinds.DISRUPTION_BUDGET, ROUTER.name),
]
"""What the pods of a router need."""


def selector(life: Life) -> Object:
    """Return which pods the Service leads to."""
    body = life.objects.find(kinds.SERVICE, KEY)
    assert body is not None
    selected: Object = body["spec"]["selector"]
    return selected


def leads_to_router(life: Life) -> bool:
    """Return whether the Service leads to the router."""
    return selector(life) == names.router_selector(KEY.name)


def router_pods(life: Life) -> list[Object]:
    """Return the pods of the router, also those that are being deleted."""
    label = names.LABEL_ROUTER
    return [one for one in life.objects.all(kinds.POD) if label in one["metadata"]["labels"]]


def exists(life: Life, kind: Kind, name: str) -> bool:
    """Return whether a child exists."""
    return life.objects.find(kind, Key(NAMESPACE, name)) is not None


def watched(life: Life, broken: Callable[[], bool]) -> list[str]:
    """Return a list to which each event is added after which something is broken."""
    broken_after: list[str] = []

    def look(event: WatchEvent) -> None:
        if broken():
            broken_after.append(f"{event.action} {event.kind.kind} {key_of(event.body).name}")

    life.objects.listeners.append(look)
    return broken_after


def served(life: Life) -> bool:
    """Return whether the pods that the Service leads to have one that is ready."""
    desired = selector(life).items()
    selected = [
        one for one in life.objects.all(kinds.POD) if desired <= one["metadata"]["labels"].items()
    ]
    return any(map(is_ready, selected))


async def ready(life: Life, spec: Object) -> None:
    """Bring an endpoint to where it answers."""
    await life.start()
    life.create(spec)
    await life.settle()
    assert life.reason() == "Ready"


def test_a_policy_refuses_no_request_when_it_is_set_and_when_it_is_removed() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"replicas": 2})
        unserved = watched(life, lambda: not served(life))

        life.edit(PREFIX)
        await life.settle()
        assert leads_to_router(life)
        assert life.reason("RouterReady") == "Available"

        life.edit({"routing": None})
        await life.settle()
        assert selector(life) == names.selector(KEY.name)
        assert life.reason("RouterReady") == ""
        assert unserved == []

    play(scenario)


def test_what_a_router_needs_is_there_until_its_last_pod_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fake_workloads, "STOP_SECONDS", 30.0)

    async def scenario(life: Life) -> None:
        await ready(life, PREFIX)
        stranded = watched(
            life,
            lambda: bool(router_pods(life)) and not all(exists(life, *one) for one in NEEDED),
        )

        life.edit({"routing": None})
        await life.settle()

        assert stranded == []
        assert not exists(life, kinds.DEPLOYMENT, ROUTER.name)
        assert not any(exists(life, *one) for one in NEEDED)

    play(scenario)


def test_a_router_is_not_deleted_before_the_service_leads_to_the_replicas() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, PREFIX)
        error = ApiError(403, "Forbidden", "a webhook denied it")
        rejected = reject(life, error, lambda write: write.kind == "Service")

        life.edit({"routing": None})
        await asyncio.sleep(60)

        assert rejected
        assert leads_to_router(life)
        assert served(life)

    play(scenario)


def test_a_broken_router_costs_no_request_and_is_reported() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, PREFIX)

        life.workloads.pod_error = "exceeded quota"
        for pod in router_pods(life):
            life.objects.mark_deleted(kinds.POD, key_of(pod))
        await life.settle()

        assert served(life)
        assert selector(life) == names.selector(KEY.name)
        assert life.reason("RouterReady") == "RouterUnavailable"
        (condition,) = [one for one in life.status["conditions"] if one["type"] == "RouterReady"]
        assert "exceeded quota" in condition["message"]
        assert "RouterUnavailable" in life.event_reasons()

    play(scenario)


def test_a_policy_with_one_replica_works_and_says_that_it_has_no_effect() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"routing": {"policy": "Prefix"}})

        assert leads_to_router(life)
        assert (life.reason(), life.reason("RouterReady")) == ("Ready", "NoEffect")

    play(scenario)


def test_the_deployment_of_a_router_is_not_that_of_the_replicas() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {**PREFIX, "routing": {"policy": "Session", "replicas": 5}})

        assert (life.status["replicas"], life.status["readyReplicas"]) == (2, 2)
        assert len(router_pods(life)) == 5

    play(scenario)


@pytest.mark.parametrize("spec", [{}, SLEEPER], ids=["plain", "sleeper"])
def test_both_services_lead_to_the_activators_while_no_replica_is_ready(spec: Object) -> None:
    async def scenario(life: Life) -> None:
        life.activators = ACTIVATORS
        life.load = {"running": 1}
        await ready(life, spec | {"routing": {"policy": "Prefix"}})
        await life.settle(UNTIL_RELEASED)
        slices = [
            Key(NAMESPACE, names.activator_slice(KEY.name, ipv6=False)),
            Key(NAMESPACE, names.router_slice(KEY.name, ipv6=False)),
        ]
        seen: set[tuple[bool, ...]] = set()

        def look(_: WatchEvent) -> None:
            bodies = [life.objects.find(kinds.ENDPOINT_SLICE, one) for one in slices]
            replicas = [
                one for one in life.pods() if names.LABEL_DEPLOYMENT in one["metadata"]["labels"]
            ]
            if not any(map(is_ready, replicas)):
                seen.add(tuple(bool(one and one.get("endpoints")) for one in bodies))

        life.edit({"startupSeconds": 900})
        life.objects.listeners.append(look)
        await life.settle(UNTIL_RELEASED)

        assert seen == {(True, True)}
        assert life.reason() == "Ready"

    play(scenario)


def test_a_foreign_deployment_of_the_name_of_a_router_stays_and_gets_no_request() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        rendered = children(resource(PREFIX, uid="of another"), CONTEXT)
        (foreign,) = [
            one
            for one in rendered
            if (one["kind"], one["metadata"]["name"]) == ("Deployment", ROUTER.name)
        ]
        del foreign["metadata"]["ownerReferences"], foreign["metadata"]["annotations"]
        life.objects.create(kinds.DEPLOYMENT, foreign)
        await asyncio.sleep(10)
        assert any(map(is_ready, router_pods(life)))

        life.create(PREFIX)
        await life.settle()

        assert selector(life) == names.selector(KEY.name)
        assert life.reason() == "NameTaken"

    play(scenario)
