"""The policies of the activators' ports: written before the map, and again when edited."""

import asyncio
import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from builders import NAME, NAMESPACE, merged, next_version, resource, resource_body
from endpoint_slices import mapped
from mistral_operator.api.network import Peer
from mistral_operator.control.activator_policies import ActivatorPolicies
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.free_ports import REST_SECONDS
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.render import NetworkDefaults
from mistral_operator.render.activator_network import PORTS_PER_POLICY
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, encode_port_map
from mistral_operator.watch.store import Store
from virtual_time import run

OURS, OF_CHART = "mistral-system", "chart-activator"
FIRST = names.activator_policy(FIRST_PORT)
MAP = names.PORT_MAP
KEY, OTHER = Key(NAMESPACE, NAME), Key("team-b", NAME)
GATEWAY = {"namespaceSelector": {"matchLabels": {"team": "gateway"}}}
BATCH = {"namespaceSelector": {"matchLabels": {"team": "batch"}}}
OWN: dict[str, Any] = {"podSelector": {}}
Object = dict[str, Any]


def no_error(_: Object) -> ClusterError | None:
    """Accept a write."""


class Api:
    """An API server that keeps objects of the operator's namespace, and may refuse writes."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {OF_CHART: chart_policy("uid-1")}
        self.applied: list[str] = []
        self.refuse: Callable[[Object], ClusterError | None] = no_error

    async def get(self, _: Kind, namespace: str, name: str) -> Object | None:
        assert namespace == OURS
        return deepcopy(self.objects.get(name))

    async def try_apply(self, desired: Object) -> None:
        error = self.refuse(desired)
        if error is not None:
            raise error

    async def apply(self, desired: Object, *, force: bool) -> Object:
        assert force
        await self.try_apply(desired)
        live = merged(deepcopy(desired), {"metadata": {"resourceVersion": next_version()}})
        if not live.get("spec", {}).get("ingress", True):
            del live["spec"]["ingress"]  # it has omitempty
        self.applied.append(desired["metadata"]["name"])
        self.objects[desired["metadata"]["name"]] = live
        return deepcopy(live)

    def peers(self, port: int) -> list[Any] | None:
        """Return who may connect to a port; an empty list for none, None for everyone."""
        admitted: list[Any] = []
        for name, body in self.objects.items():
            if not name.startswith(names.ACTIVATOR_POLICY) or "spec" not in body:
                continue
            for rule in body["spec"].get("ingress", ()):
                if any(one["port"] == port for one in rule["ports"]):
                    if "from" not in rule:
                        return None
                    admitted += rule["from"]
        return admitted


def chart_policy(uid: str, **labels: str) -> Object:
    """Return the policy of the chart."""
    return {
        "metadata": {"name": OF_CHART, "namespace": OURS, "uid": uid},
        "spec": {"podSelector": {"matchLabels": {"app": "activator", **labels}}},
    }


class Operator:
    """The part of an operator that writes the policies and the map."""

    def __init__(self, api: Api, *, limits: bool = True, callers: list[Any] | None = None) -> None:
        self.store = Store(kinds.CHILD_KINDS)
        peers = None if callers is None else tuple(map(Peer.model_validate, callers))
        self.now = 0.0
        self.ports = ActivatorPorts(
            self.store, network=NetworkDefaults(callers=peers), clock=lambda: self.now
        )
        cluster: Any = api
        policies = ActivatorPolicies(cluster, OURS, OF_CHART) if limits else None
        self.writer = PortMapWriter(cluster, OURS, self.ports, policies)

    def reconcile(self, key: Key, callers: list[Any] | None = None) -> int:
        """Return the port of an endpoint with these callers."""
        port = self.ports.port(key, resource(spec(callers), name=key.name, namespace=key.namespace))
        assert port is not None
        return port


def spec(callers: list[Any] | None = None) -> Object:
    """Return the spec of an endpoint that can scale to zero."""
    network = {} if callers is None else {"network": {"callers": callers}}
    return {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}, **network}


# --- Order ----------------------------------------------------------------------------------------


async def test_a_port_is_opened_before_the_activators_know_it() -> None:
    api = Api()
    operator = Operator(api)
    await operator.writer.begin()
    port = operator.reconcile(KEY, [GATEWAY])

    await operator.writer.publish_for(KEY)

    assert api.applied == [MAP, FIRST, MAP]
    assert api.peers(port) == [OWN, GATEWAY]


REJECTED = ClusterError(403, "no permission", "PATCH")
OVERLOADED = Unavailable(503, "overloaded", "PATCH")


@pytest.mark.parametrize("error", [REJECTED, OVERLOADED], ids=["rejected", "overloaded"])
async def test_only_an_endpoint_whose_port_cannot_be_opened_waits(error: ClusterError) -> None:
    api = Api()
    operator = Operator(api)
    operator.reconcile(KEY)
    await operator.writer.publish_for(KEY)
    api.refuse = lambda body: error if body["kind"] == "NetworkPolicy" else None
    operator.reconcile(OTHER)

    await operator.writer.publish_for(KEY)
    with pytest.raises(ClusterError):
        await operator.writer.publish_for(OTHER)
    assert set(api.objects[MAP]["data"]) == {str(FIRST_PORT)}

    api.refuse = no_error
    await operator.writer.publish_for(OTHER)
    assert api.objects[MAP]["data"] == encode_port_map(operator.ports.entries)


async def test_a_port_of_another_endpoint_is_never_open_to_the_callers_of_the_one_before() -> None:
    api = Api()
    operator = Operator(api)
    port = operator.reconcile(KEY)
    for number in range(PORTS - 1):
        operator.reconcile(Key("others", f"small-{number}"))
    await operator.writer.publish()
    operator.ports.forget(KEY)
    operator.now += REST_SECONDS
    assert operator.reconcile(OTHER, [GATEWAY]) == port

    await operator.writer.publish()

    assert api.applied[-2:] == [FIRST, MAP]
    assert api.peers(port) == [OWN, GATEWAY]


async def test_changed_callers_are_written_although_the_map_stays() -> None:
    api = Api()
    operator = Operator(api)
    port = operator.reconcile(KEY)
    await operator.writer.publish()
    assert api.peers(port) is None

    operator.reconcile(KEY, [])
    await operator.writer.publish()
    await operator.writer.publish()

    assert api.peers(port) == [OWN]
    assert api.applied == [FIRST, MAP, FIRST]


async def test_ports_without_an_endpoint_are_closed() -> None:
    api = Api()
    operator = Operator(api)
    port = operator.reconcile(KEY)
    await operator.writer.publish()

    operator.ports.forget(KEY)
    await operator.writer.publish()

    assert api.peers(port) == []
    await operator.writer.verify()
    assert api.applied == [FIRST, MAP, FIRST, MAP], "an empty list is as it was written"


# --- A new operator -------------------------------------------------------------------------------


async def test_a_restart_writes_nothing() -> None:
    api = Api()
    before = Operator(api)
    before.reconcile(KEY, [GATEWAY])
    await before.writer.publish()
    api.applied.clear()

    after = Operator(api)
    after.store.resources.put(resource_body(spec([GATEWAY])))
    await after.writer.begin()
    after.reconcile(KEY, [GATEWAY])
    await after.writer.publish_for(KEY)

    assert api.applied == []


async def test_the_first_operator_that_limits_callers_opens_every_port_before_it_says_so() -> None:
    """Its activators become ready only then, and those of the old chart serve until they are."""
    api = Api()
    old = Operator(api, limits=False)
    for key in (KEY, OTHER):
        old.reconcile(key)
    await old.writer.publish()
    assert "annotations" not in api.objects[MAP]["metadata"]
    api.applied.clear()

    new = Operator(api)
    for key in (KEY, OTHER):
        new.store.resources.put(
            resource_body(spec([GATEWAY]), name=key.name, namespace=key.namespace)
        )
    await new.writer.begin()

    assert api.applied == [FIRST, MAP], "before any of them is reconciled"
    assert api.objects[MAP]["metadata"]["annotations"] == {names.CALLERS: names.LIMITED}
    assert [api.peers(port) for port in new.ports.entries] == [[OWN, GATEWAY]] * 2


async def test_an_operator_that_limits_no_callers_says_so() -> None:
    api = Api()
    first = Operator(api)
    first.reconcile(KEY)
    await first.writer.publish()
    del api.objects[OF_CHART]
    second = Operator(api, limits=False)
    second.store.resources.put(resource_body(spec()))

    await second.writer.begin()

    assert "annotations" not in api.objects[MAP]["metadata"]


async def test_an_endpoint_that_is_invalid_is_closed_until_it_is_corrected() -> None:
    api = Api()
    api.objects[MAP] = {
        "metadata": {"resourceVersion": next_version()},
        "data": encode_port_map({FIRST_PORT: mapped(KEY)}),
    }
    operator = Operator(api)
    operator.store.resources.put(resource_body({**spec(), "engine": {"contextLength": -1}}))

    await operator.writer.begin()

    assert api.peers(FIRST_PORT) == [OWN]


# --- Edits of others ------------------------------------------------------------------------------


async def everyone(api: Api) -> None:
    """Open a port to everyone."""
    del api.objects[FIRST]["spec"]["ingress"][0]["from"]


async def delete(api: Api) -> None:
    """Delete the policy."""
    del api.objects[FIRST]


async def reinstall(api: Api) -> None:
    """Let the policy of the chart be another one, with which the first was deleted."""
    api.objects[OF_CHART] = chart_policy("uid-2")
    del api.objects[FIRST]


async def relabel(api: Api) -> None:
    """Let the policy of the chart select other pods."""
    api.objects[OF_CHART] = chart_policy("uid-1", release="two")


@pytest.mark.parametrize("edit", [everyone, delete, reinstall, relabel])
async def test_a_policy_that_was_edited_or_deleted_is_written_again(edit: Any) -> None:
    api = Api()
    operator = Operator(api)
    port = operator.reconcile(KEY, [GATEWAY])
    await operator.writer.publish()
    await edit(api)

    await operator.writer.verify()

    policy, of_chart = api.objects[FIRST], api.objects[OF_CHART]
    assert api.peers(port) == [OWN, GATEWAY]
    assert policy["spec"]["podSelector"] == of_chart["spec"]["podSelector"]
    assert policy["metadata"]["ownerReferences"][0]["uid"] == of_chart["metadata"]["uid"]
    written = len(api.applied)
    await operator.writer.verify()
    assert len(api.applied) == written, "as it should be"


async def test_a_map_without_its_annotation_gets_it_again() -> None:
    api = Api()
    operator = Operator(api)
    await operator.writer.begin()
    del api.objects[MAP]["metadata"]["annotations"]

    await operator.writer.verify()

    assert api.objects[MAP]["metadata"]["annotations"] == {names.CALLERS: names.LIMITED}


async def test_without_the_policy_of_the_chart_no_port_is_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api()
    del api.objects[OF_CHART]
    operator = Operator(api)
    with caplog.at_level(logging.WARNING):
        await operator.writer.begin()
    operator.reconcile(KEY)

    with pytest.raises(ClusterError, match="chart-activator: 404 not found; the chart creates it"):
        await operator.writer.publish_for(KEY)

    assert "the operator cannot tell which pods are the activators" in caplog.text
    assert MAP not in api.objects


# --- Callers that the API server rejects ----------------------------------------------------------


def rejects_batch(body: Object) -> ClusterError | None:
    """Refuse every policy that names one of the callers."""
    return ClusterError(422, "no batch here", "PATCH") if "batch" in str(body) else None


async def test_rejected_callers_of_one_endpoint_keep_no_other_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api()
    operator = Operator(api)
    api.refuse = rejects_batch
    good, bad = operator.reconcile(KEY, [GATEWAY]), operator.reconcile(OTHER, [BATCH])

    with caplog.at_level(logging.WARNING):
        await operator.writer.publish_for(OTHER)
    third = operator.reconcile(Key("team-c", NAME), [GATEWAY])
    await operator.writer.publish_for(Key("team-c", NAME))

    assert api.peers(good) == api.peers(third) == [OWN, GATEWAY]
    assert api.peers(bad) == [OWN]
    (line,) = [one.message for one in caplog.records if "no callers" in one.message]
    assert line == f"no callers at port {bad}: PATCH: 422 no batch here"

    operator.reconcile(OTHER, [GATEWAY])
    await operator.writer.publish_for(OTHER)
    assert api.peers(bad) == [OWN, GATEWAY]


async def test_a_policy_that_is_rejected_whatever_it_says_is_an_error() -> None:
    api = Api()
    operator = Operator(api)
    api.refuse = lambda body: REJECTED if body["kind"] == "NetworkPolicy" else None
    operator.reconcile(KEY, [GATEWAY])

    with pytest.raises(ClusterError, match="no permission"):
        await operator.writer.publish_for(KEY)

    api.refuse = no_error
    await operator.writer.publish_for(KEY)
    assert api.peers(FIRST_PORT) == [OWN, GATEWAY], "nothing of it is remembered"


async def test_callers_are_not_rejected_by_an_api_server_that_goes_away() -> None:
    api = Api()
    operator = Operator(api)
    answers = iter([REJECTED, OVERLOADED])
    api.refuse = lambda body: next(answers) if body["kind"] == "NetworkPolicy" else None
    port = operator.reconcile(KEY, [GATEWAY])

    with pytest.raises(Unavailable, match="overloaded"):
        await operator.writer.publish_for(KEY)

    api.refuse = no_error
    await operator.writer.publish_for(KEY)
    assert api.peers(port) == [OWN, GATEWAY]


def rejects_two_rules(body: Object) -> ClusterError | None:
    """Refuse every policy with more than one rule."""
    return REJECTED if len(body.get("spec", {}).get("ingress", ())) > 1 else None


async def test_a_policy_that_is_rejected_as_a_whole_is_an_error() -> None:
    api = Api()
    operator = Operator(api)
    api.refuse = rejects_two_rules
    operator.reconcile(KEY, [GATEWAY])
    operator.reconcile(OTHER, [BATCH])

    with pytest.raises(ClusterError, match="no permission"):
        await operator.writer.publish_for(OTHER)

    assert MAP not in api.objects


# --- While the operator runs ----------------------------------------------------------------------


async def test_a_look_at_what_is_as_it_was_written_writes_nothing() -> None:
    api = Api()
    operator = Operator(api)
    operator.reconcile(KEY)
    await operator.writer.publish()

    await operator.writer.verify()

    assert api.applied == [FIRST, MAP]


async def test_an_endpoint_of_another_policy_does_not_write_the_first_again() -> None:
    api = Api()
    operator = Operator(api)
    for number in range(PORTS_PER_POLICY):
        operator.reconcile(Key("team-c", f"small-{number}"))
    await operator.writer.publish()

    operator.reconcile(KEY)
    await operator.writer.publish()

    second = names.activator_policy(FIRST_PORT + PORTS_PER_POLICY)
    assert api.applied == [FIRST, MAP, second, MAP]


def test_what_is_edited_or_gone_is_written_without_a_reconciliation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api()
    operator = Operator(api)

    async def scenario() -> None:
        port = operator.reconcile(KEY)
        await operator.writer.publish()
        running = asyncio.create_task(operator.writer.run())

        del api.objects[FIRST], api.objects[MAP]
        await asyncio.sleep(60)
        assert {FIRST, MAP} <= api.objects.keys()

        api.refuse = lambda _: OVERLOADED
        operator.ports.forget(KEY)
        await asyncio.sleep(60)
        assert str(port) in api.objects[MAP]["data"]
        assert "cannot write the port map of the activators: PATCH: 503" in caplog.text

        api.refuse = no_error
        await asyncio.sleep(60)
        assert api.objects[MAP]["data"] == {}
        running.cancel()

    run(scenario())
