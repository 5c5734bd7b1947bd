"""Whatever takes the last replica, the activators are behind the Service while none is ready."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from builders import NAMESPACE, Object
from fake_api_server import Write
from fake_objects import ApiError, WatchEvent
from fake_workloads import is_ready
from mistral_operator.control import activator_port_map
from mistral_operator.control.hold import TAKEOVER_SECONDS, UNCHANGED_SECONDS
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import decode_port_map
from mistral_server.contract import FailureClass
from operator_life import KEY, Life, play
from operator_scenarios import ACTIVATORS, AUTOSCALED, SLEEPER, UNTIL_RELEASED, report_of
from reconciliations import reject

EDIT: Object = {"startupSeconds": 900}
SLICE = Key(NAMESPACE, names.activator_slice(KEY.name, ipv6=False))
MAP = Key("mistral-system", names.PORT_MAP)


async def ready(life: Life, spec: Object | None = None) -> None:
    """Bring an endpoint to where it answers, beside activators."""
    life.activators = life.activators or ACTIVATORS
    await life.start()
    life.create(spec)
    await life.settle(UNTIL_RELEASED)
    assert life.reason() == "Ready"


def serving(life: Life) -> bool:
    """Return whether the activators are behind the Service."""
    body = life.objects.find(kinds.ENDPOINT_SLICE, SLICE)
    return bool(body and body.get("endpoints"))


def ports(life: Life) -> list[int]:
    """Return the ports in the port map."""
    body = life.objects.find(kinds.CONFIG_MAP, MAP)
    return [*decode_port_map((body or {}).get("data") or {}).entries]


class Gaps:
    """How long neither a ready pod nor an activator was there."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._since: list[tuple[float, bool]] = []
        self._note()
        life.objects.listeners.append(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind in {kinds.POD, kinds.ENDPOINT_SLICE}:
            self._note()

    def _note(self) -> None:
        answered = any(map(is_ready, self._life.pods())) or serving(self._life)
        self._since.append((asyncio.get_running_loop().time(), answered))

    def __iter__(self) -> Iterator[float]:
        self._note()
        for (start, answered), (end, _) in pairwise(self._since):
            if not answered and end > start:
                yield end - start

    @property
    def total(self) -> float:
        """Seconds without anyone to accept a request."""
        return sum(self)


@pytest.mark.parametrize("spec", [{}, SLEEPER, AUTOSCALED], ids=["plain", "sleeper", "autoscaled"])
def test_an_edit_refuses_no_request(spec: Object) -> None:
    async def scenario(life: Life) -> None:
        life.load = {"running": 1}
        await ready(life, spec)
        gaps = Gaps(life)

        for seconds in (900, 901, 902):
            life.edit({"startupSeconds": seconds})
            await life.settle(UNTIL_RELEASED)

        assert gaps.total == 0.0
        assert (life.reason(), serving(life)) == ("Ready", False)

    play(scenario)


def test_requests_are_refused_without_an_activator() -> None:
    """What the test above would find if nothing took over."""

    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        gaps = Gaps(life)

        life.edit(EDIT)
        await life.settle()

        assert gaps.total > 2.0

    play(scenario)


@pytest.mark.parametrize("spec", [{}, SLEEPER], ids=["plain", "sleeper"])
@pytest.mark.parametrize("cause", ["drain", "crash"])
def test_a_replica_that_is_lost_is_replaced_by_the_activators_within_a_second(
    spec: Object, cause: str
) -> None:
    async def scenario(life: Life) -> None:
        life.load = {"running": 1}
        await ready(life, spec)
        gaps = Gaps(life)

        if cause == "drain":
            life.evict()
        else:
            (pod,) = life.pods()
            name = Key(NAMESPACE, pod["metadata"]["name"])
            life.workloads.fail(name, report_of(FailureClass.ENGINE_DIED))
        await life.settle(UNTIL_RELEASED)

        assert 0.0 < gaps.total < 0.2
        assert life.reason() == "Ready"

    play(scenario)


def test_the_port_is_given_back_when_clients_have_left() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        assert ports(life) == []

        life.edit(EDIT)
        await asyncio.sleep(10)
        assert (len(ports(life)), serving(life)) == (1, False)

        await life.settle(UNTIL_RELEASED)
        assert ports(life) == []

    play(scenario)


def test_requests_that_are_still_queued_keep_the_port() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.held = 1
        life.edit(EDIT)
        await life.settle(UNTIL_RELEASED)
        assert len(ports(life)) == 1

        life.held = 0
        await life.settle(UNTIL_RELEASED)
        assert ports(life) == []

    play(scenario)


def test_a_replica_that_never_starts_again_is_held_and_the_status_says_so() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.workloads.start_result = lambda _: report_of(FailureClass.ENGINE_DIED)

        life.edit(EDIT)
        await asyncio.sleep(300)

        assert serving(life)
        assert (life.reason("Holding"), life.reason("Available")) == ("Holding", "Unavailable")
        message = next(
            one["message"] for one in life.status["conditions"] if one["type"] == "Ready"
        )
        assert message.endswith("the activator queues requests until a replica is ready")
        assert "Holding" in life.event_reasons()

    play(scenario)


@pytest.mark.parametrize(
    "changes", [{"suspend": True}, {"replicas": 0}, {"rollout": {"hold": "Never"}}]
)
def test_an_endpoint_that_is_to_be_down_is_not_held(changes: Object) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)

        life.edit({**changes, **EDIT})
        await asyncio.sleep(1.0)

        assert not serving(life)
        assert life.reason("Holding") == ""

    play(scenario)


def test_an_edit_goes_on_if_the_activators_do_not_take_over() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.deaf = True
        (before,) = life.pods()

        life.edit(EDIT)
        await asyncio.sleep(5.0)
        assert life.pods() == [before]
        assert life.reason() == "RollingOut"

        await life.settle(UNTIL_RELEASED)
        assert life.reason() == "Ready"
        assert life.pods() != [before]

    play(scenario)


def test_a_new_operator_goes_on_where_the_last_one_was_killed() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        gaps = Gaps(life)

        life.edit(EDIT)
        for _ in range(8):
            await asyncio.sleep(0.3)
            life.kill()
            await life.start()
        await life.settle(UNTIL_RELEASED)

        assert gaps.total == 0.0
        assert (life.reason(), serving(life), ports(life)) == ("Ready", False, [])

    play(scenario)


@pytest.mark.parametrize(
    "error",
    [ClusterError(403, "forbidden", "PATCH"), Unavailable(500, "failed calling webhook", "PATCH")],
    ids=["rejected", "failing webhook"],
)
def test_an_edit_goes_on_if_the_port_map_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, error: ClusterError
) -> None:
    attempts = 0

    async def fail(*_: object) -> Object:
        nonlocal attempts
        attempts += 1
        raise error

    async def scenario(life: Life) -> None:
        await ready(life)
        (before,) = life.pods()
        monkeypatch.setattr(activator_port_map, "write_map", fail)

        life.edit(EDIT)
        await asyncio.sleep(TAKEOVER_SECONDS + 10)

        assert life.pods() != [before]
        await asyncio.sleep(120)
        assert attempts < 60
        monkeypatch.undo()
        await life.settle(UNTIL_RELEASED)

    play(scenario)


def test_a_port_is_kept_as_long_as_the_slice_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    delete = Cluster.delete

    async def fail(cluster: Cluster, kind: kinds.Kind, *arguments: Any, **options: Any) -> None:
        if kind == kinds.ENDPOINT_SLICE:
            raise ClusterError(403, "denied by a webhook", "DELETE")
        await delete(cluster, kind, *arguments, **options)

    async def scenario(life: Life) -> None:
        await ready(life)
        monkeypatch.setattr(Cluster, "delete", fail)
        life.edit(EDIT)
        await asyncio.sleep(200)
        assert serving(life)
        assert len(ports(life)) == 1

        monkeypatch.undo()
        await life.settle(UNTIL_RELEASED)
        assert (serving(life), ports(life)) == (False, [])

    play(scenario)


# --- What the API server rejects ------------------------------------------------------------------

DENIED = ApiError(403, "Forbidden", "exceeded quota")
FAILING = ApiError(500, "InternalError", "failed calling webhook")


def of_slices(write: Write) -> bool:
    """Return whether a write is that of the slice of the activators."""
    return write.kind == "EndpointSlice"


def of_deployments(write: Write) -> bool:
    """Return whether a write is that of the Deployment."""
    return write.kind == "Deployment"


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["quota", "webhook"])
def test_an_edit_goes_on_if_the_slice_cannot_be_written(error: ApiError) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        (before,) = life.pods()
        reject(life, error, of_slices)

        life.edit(EDIT)
        await asyncio.sleep(TAKEOVER_SECONDS + 15)

        assert life.pods() != [before]
        life.api.before_write = None
        await life.settle(UNTIL_RELEASED)
        assert life.reason() == "Ready"

    play(scenario)


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["quota", "webhook"])
def test_a_replica_is_held_although_an_edit_of_it_is_rejected(error: ApiError) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        reject(life, error, of_deployments)
        life.edit(EDIT)
        await asyncio.sleep(UNCHANGED_SECONDS * 3)
        gaps = Gaps(life)

        life.evict()
        await asyncio.sleep(10)

        assert gaps.total < 0.2

    play(scenario)


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["policy", "webhook"])
def test_the_activators_leave_a_replica_that_cannot_be_replaced(error: ApiError) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        (before,) = life.pods()
        reject(life, error, of_deployments)

        life.edit(EDIT)
        await asyncio.sleep(UNCHANGED_SECONDS / 2)
        assert serving(life)

        await asyncio.sleep(UNCHANGED_SECONDS)
        assert (serving(life), life.reason("Holding"), life.pods()) == (False, "", [before])
        writes = len(life.api.writes)
        await asyncio.sleep(1000)
        assert len(life.api.writes) < writes + 10

        life.api.before_write = None
        gaps = Gaps(life)
        life.edit({"startupSeconds": 901})
        await life.settle(UNTIL_RELEASED)
        assert (life.reason(), serving(life), life.pods() == [before]) == ("Ready", False, False)
        assert gaps.total < 0.2

    play(scenario)


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["quota", "webhook"])
def test_the_status_does_not_say_that_requests_are_queued_where_none_is(error: ApiError) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        reject(life, error, of_slices)
        life.workloads.start_result = lambda _: report_of(FailureClass.ENGINE_DIED)

        life.evict()
        await asyncio.sleep(20)

        assert life.reason("Holding") == "ApplyFailed"
        messages = {one["type"]: one["message"] for one in life.status["conditions"]}
        assert messages["Holding"] == (
            "no replica is ready, and requests are refused: the EndpointSlice that leads to the"
            " activators cannot be written"
        )
        assert "the activator queues" not in messages["Ready"]
        life.api.before_write = None

    play(scenario)


@pytest.mark.parametrize("name", ["forged", SLICE.name])
def test_a_slice_of_another_author_does_not_count_as_that_of_the_activators(name: str) -> None:
    """Then an edit would begin before they are behind the Service."""

    async def scenario(life: Life) -> None:
        await ready(life)
        (before,) = life.pods()
        theirs = {"metadata": {"name": "theirs", "namespace": NAMESPACE}}
        uid = life.objects.create(kinds.SERVICE, theirs)["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Service", "name": "theirs", "uid": uid}
        labels = names.labels(KEY.name) | {
            names.LABEL_SLICE_MANAGER: names.MANAGED_BY,
            names.LABEL_SERVICE: KEY.name,
        }
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": labels,
            "ownerReferences": [{**owner, "controller": True}],
        }
        body = {
            "apiVersion": kinds.ENDPOINT_SLICE.api_version,
            "kind": kinds.ENDPOINT_SLICE.kind,
            "metadata": metadata,
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.9.9.9"]}],
            "ports": [{"name": "http", "port": 8000}],
        }
        life.objects.create(kinds.ENDPOINT_SLICE, body)
        life.deaf = True

        life.edit(EDIT)
        await asyncio.sleep(TAKEOVER_SECONDS - 1)

        assert before in life.pods()

    play(scenario)


# --- Activators that lag behind -------------------------------------------------------------------


def test_an_activator_with_an_older_port_map_neither_delays_an_edit_nor_receives_requests() -> None:
    """The port may be another endpoint's there, whose replicas would receive them."""

    async def scenario(life: Life) -> None:
        await ready(life)
        fresh, life.stale = ACTIVATORS[0], ACTIVATORS[1:]
        life.workloads.start_result = lambda _: report_of(FailureClass.ENGINE_DIED)
        gaps = Gaps(life)

        life.edit(EDIT)
        await asyncio.sleep(5)
        assert addresses(life) == [fresh]
        await asyncio.sleep(60)
        assert addresses(life) == [fresh]

        life.stale = ()
        await asyncio.sleep(5)
        assert addresses(life) == [*ACTIVATORS]
        assert gaps.total == 0.0

    play(scenario)


@pytest.mark.parametrize("spec", [{}, SLEEPER], ids=["plain", "sleeper"])
def test_no_activator_with_an_older_port_map_receives_requests(spec: Object) -> None:
    async def scenario(life: Life) -> None:
        life.load = {"running": 1}
        await ready(life, spec)
        if spec:
            life.edit({"autoscaling": None})
            await life.settle(UNTIL_RELEASED)
        life.deaf = True
        life.workloads.start_result = lambda _: report_of(FailureClass.ENGINE_DIED)

        life.edit(spec)
        life.evict()
        await asyncio.sleep(60)
        assert not serving(life)
        if not spec:
            assert life.reason("Holding") == "ActivatorMissing"

        life.deaf = False
        await asyncio.sleep(10)
        assert serving(life)

    play(scenario)


def addresses(life: Life) -> list[str]:
    """Return the activators behind the Service."""
    body = life.objects.find(kinds.ENDPOINT_SLICE, SLICE) or {}
    return [one["addresses"][0] for one in body.get("endpoints") or ()]
