"""The key map: what the operator keeps of the digests that replicas publish."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from builders import NAME, NAMESPACE, NOW, merged, ready_pod, resource, resource_body, signal
from mistral_operator.api import parse_resource
from mistral_operator.control.activator_keys import KeyMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.render import RenderContext, children
from mistral_operator.scale_to_zero import (
    PORTS,
    StoredKeys,
    decode_key_map,
    encode_key_map,
    keys_to_store,
)
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.facts import pod_facts
from mistral_operator.watch.store import Store
from mistral_server.contract import KEY_DIGEST_METHOD, MAX_KEY_DIGESTS, KeyDigests
from virtual_time import run

KEY = Key(NAMESPACE, NAME)
SECRET = "keys"  # noqa: S105 - the name of a Secret
SALT, OTHER_SALT = "A" * 16, "B" * 16
OLD, NEW = "oldoldol", "newnewne"


def digests(*each: str, salt: str = SALT, method: str = KEY_DIGEST_METHOD) -> KeyDigests:
    """Return digests as a replica reports them."""
    return KeyDigests(method=method, salt=salt, digests=each)


class Cluster:
    """An API server that keeps the ConfigMap with the key map."""

    def __init__(self) -> None:
        self.data: dict[str, str] | None = None
        self.writes = 0
        self.down = False

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> Any:
        assert (kind, namespace, name) == (kinds.CONFIG_MAP, "mistral-system", names.KEY_MAP)
        return None if self.data is None else {"data": self.data}

    async def apply(self, body: Any, *, force: bool) -> Any:
        assert force
        if self.down:
            raise Unavailable(503, "down", "PATCH /configmaps")
        self.writes += 1
        self.data = body["data"]
        return body


class Operator:
    """The part of an operator that keeps digests, for one endpoint."""

    def __init__(self, cluster: Cluster | None = None, per_namespace: int = PORTS) -> None:
        self.cluster = cluster or Cluster()
        self.now = 0.0
        self.store, self.board = Store(kinds.CHILD_KINDS), SignalBoard()
        self.ports = ActivatorPorts(self.store, per_namespace)
        self.writer = KeyMapWriter(
            self.cluster,  # type: ignore[arg-type]
            "mistral-system",
            self.store,
            self.board,
            self.ports,
            clock=lambda: self.now,
        )

    def reconcile(self, secret: str | None = SECRET, key: Key = KEY, **spec: Any) -> None:
        """Let the reconciler see the resource."""
        self.ports.port(key, parse_resource(self.hold(secret, key, **spec)))

    def hold(self, secret: str | None = SECRET, key: Key = KEY, **spec: Any) -> Any:
        """Let the cluster have the resource, which is not reconciled yet; return it."""
        gate = {} if secret is None else {"apiKeys": {"secret": secret}}
        both = {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}, "gate": gate}
        metadata = {"namespace": key.namespace, "name": key.name}
        body = resource_body(merged(both, spec), **metadata)
        self.store.resources.put(body)
        return body

    def delete(self) -> None:
        """Let the resource be gone."""
        self.store.resources.remove(resource_body())
        self.ports.forget(KEY)

    def run_pod(
        self, name: str, reported: KeyDigests | None, secret: str = SECRET, **fields: Any
    ) -> None:
        """Let a pod be ready and report digests."""
        volume = {"name": names.VOLUME_API_KEYS, "secret": {"secretName": secret}}
        body = ready_pod(name) | {"spec": {"volumes": [volume]}}
        self.store.pods.put(body)
        document = signal(key_digests=reported, **fields)
        self.board.record(pod_facts(body)).document = document

    def stop_pod(self, name: str) -> None:
        """Let a pod be gone."""
        self.store.pods.remove(ready_pod(name))

    async def stored(self, seconds: float = 10.0) -> tuple[str, ...] | None:
        """Return the digests in the ConfigMap some time later."""
        self.now += seconds
        await self.writer.once()
        entry = decode_key_map(self.cluster.data or {}).get(KEY)
        return None if entry is None else entry.digests


async def test_digests_outlive_the_replica_and_the_operator() -> None:
    operator = Operator()
    operator.reconcile()
    assert await operator.stored() is None
    assert operator.cluster.writes == 0, "nothing to say"

    operator.run_pod("small-1", digests(OLD))
    assert await operator.stored() == (OLD,)
    operator.stop_pod("small-1")
    assert await operator.stored() == (OLD,)

    new = Operator(operator.cluster)
    new.hold()
    new.ports.restore({"20000": encode_port(operator)})
    assert await new.stored() == (OLD,), "before its resource is reconciled"
    new.reconcile()
    assert await new.stored() == (OLD,)
    assert operator.cluster.writes == 1


async def test_an_endpoint_that_gets_a_port_when_its_replica_is_gone_has_its_last_digests() -> None:
    operator = Operator()
    body = operator.hold(autoscaling=None)
    operator.run_pod("small-1", digests(OLD))
    assert await operator.stored() is None, "it needs none"

    operator.stop_pod("small-1")
    operator.ports.port(KEY, parse_resource(body), held=True)
    assert await operator.stored() == (OLD,)

    operator.ports.forget(KEY)
    assert await operator.stored() is None


async def test_remembered_digests_are_void_with_another_secret_and_gone_with_the_resource() -> None:
    operator = Operator()
    operator.hold(autoscaling=None)
    operator.run_pod("small-1", digests(OLD))
    await operator.stored()
    operator.stop_pod("small-1")

    another = operator.hold("others", autoscaling=None)
    operator.ports.port(KEY, parse_resource(another), held=True)
    assert await operator.stored() is None

    operator.delete()
    await operator.stored()
    operator.ports.port(KEY, parse_resource(operator.hold(autoscaling=None)), held=True)
    assert await operator.stored() is None


async def test_remembered_digests_are_void_with_an_image_that_publishes_none() -> None:
    operator = Operator()
    body = operator.hold(autoscaling=None)
    for reported in (digests(OLD), None):
        operator.run_pod("small-1", reported)
        await operator.stored()
    operator.stop_pod("small-1")

    operator.ports.port(KEY, parse_resource(body), held=True)

    assert await operator.stored() is None


def encode_port(operator: Operator) -> str:
    """Return the entry of the endpoint in the port map."""
    (entry,) = operator.ports.entries.values()
    return entry.model_dump_json()


async def after_a_start_without_the_port_map(
    before: Callable[[Operator], object], per_namespace: int = PORTS
) -> Operator:
    """Return a new operator, which found digests and no ports, before it reconciles anything."""
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD))
    assert await operator.stored() == (OLD,)
    new = Operator(operator.cluster, per_namespace)
    before(new)
    return new


@pytest.mark.parametrize(
    "spec", [{}, {"replicas": "many"}], ids=["a resource", "a resource that is invalid now"]
)
async def test_digests_outlive_the_port_map(spec: dict[str, Any]) -> None:
    new = await after_a_start_without_the_port_map(lambda one: one.hold(**spec))
    assert await new.stored() == (OLD,), "before its resource is reconciled"

    new.reconcile()
    assert await new.stored() == (OLD,)
    assert new.cluster.writes == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="deleted"),
        pytest.param(
            lambda one: one.store.resources.put(resource_body(deletionTimestamp=NOW)),
            id="being deleted",
        ),
        pytest.param(lambda one: one.hold(suspend=True), id="suspended"),
        pytest.param(lambda one: one.hold(autoscaling={"minReplicas": 1}), id="never at zero"),
    ],
)
async def test_without_the_port_map_digests_go_with_what_needs_them(change: Any) -> None:
    new = await after_a_start_without_the_port_map(change)
    assert await new.stored() is None


async def test_an_endpoint_that_gets_no_port_keeps_no_digests() -> None:
    def another_takes_the_only_port(new: Operator) -> None:
        new.reconcile(key=Key(NAMESPACE, "other"))
        new.reconcile()

    new = await after_a_start_without_the_port_map(another_takes_the_only_port, per_namespace=1)
    assert new.ports.refusal(KEY) is not None
    assert await new.stored() is None, "its replicas stay, and the map has no place for more"


async def test_the_key_map_has_no_more_entries_than_there_are_ports() -> None:
    operator, stored = Operator(), keys_to_store(None, SECRET, [digests(OLD)])
    assert stored is not None
    before = {Key(NAMESPACE, f"endpoint-{number}"): stored for number in range(PORTS)}
    operator.cluster.data = encode_key_map(before)
    for key in before:
        operator.hold(key=key)
    operator.reconcile()
    operator.run_pod("small-1", digests(NEW))

    assert await operator.stored() == (NEW,), "it has a port"
    assert len(operator.cluster.data) == PORTS


async def test_a_changed_key_replaces_the_old_ones() -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD))
    assert await operator.stored() == (OLD,)

    operator.run_pod("small-1", digests(NEW))
    assert await operator.stored() == (NEW,)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda one: one.reconcile("other-keys"), id="another Secret"),
        pytest.param(lambda one: one.reconcile(None), id="no keys any more"),
        pytest.param(lambda one: one.reconcile(suspend=True), id="never at zero"),
        pytest.param(lambda one: one.delete(), id="deleted"),
        pytest.param(lambda one: one.run_pod("small-2", None), id="an older server image"),
        pytest.param(
            lambda one: one.run_pod("small-2", digests(NEW, method="later")), id="another method"
        ),
    ],
)
async def test_digests_that_may_be_wrong_are_taken_away(change: Any) -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD))
    assert await operator.stored() == (OLD,)
    operator.stop_pod("small-1")

    change(operator)
    assert await operator.stored() is None
    operator.ports.forget(KEY)
    operator.reconcile()
    assert await operator.stored() is None, "also when all is as before"


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"ready": False}, id="does not serve"),
        pytest.param({"secret": "old-keys"}, id="has the Secret of before"),
        pytest.param({"secret": ""}, id="has no Secret"),
    ],
)
async def test_other_pods_are_not_believed(pod: dict[str, Any]) -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD), **pod)
    assert await operator.stored() is None


async def test_replicas_with_salts_of_their_own_do_not_take_turns() -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-2", digests(OLD, salt=OTHER_SALT))
    await operator.stored()
    for name in ("small-1", "small-3"):
        operator.run_pod(name, digests(NEW))
        assert await operator.stored() == (OLD,)
    assert operator.cluster.writes == 1

    operator.stop_pod("small-2")
    assert await operator.stored() == (NEW,)


async def test_a_pod_that_changes_its_digests_all_the_time_causes_a_write_every_ten_seconds() -> (
    None
):
    operator = Operator()
    operator.reconcile()
    for number in range(100):
        operator.run_pod("small-1", digests(f"{number:08}"))
        await operator.stored(seconds=1)
    assert operator.cluster.writes == 10


async def test_a_failed_write_is_tried_again() -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD))
    operator.cluster.down = True
    with pytest.raises(Unavailable):
        await operator.stored()

    operator.cluster.down = False
    operator.stop_pod("small-1")
    assert await operator.stored() == (OLD,)


def test_the_secret_of_a_pod_is_read_from_its_volume() -> None:
    rendered = children(resource({"gate": {"apiKeys": {"secret": SECRET}}}), RenderContext("image"))
    (template,) = (one["spec"]["template"] for one in rendered if one["kind"] == "Deployment")
    pod = ready_pod() | {"spec": template["spec"]}

    assert pod_facts(pod).keys_secret == SECRET
    assert pod_facts(ready_pod()).keys_secret == ""


def test_two_thousand_endpoints_fit_into_one_object() -> None:
    stored = keys_to_store(None, "s" * 253, [digests(*["x" * 8] * MAX_KEY_DIGESTS)])
    assert stored is not None
    entries = {Key("n" * 63, f"{number:050}"): stored for number in range(PORTS)}
    data = encode_key_map(entries)

    assert sum(len(name) + len(text) for name, text in data.items()) < 2**20
    assert decode_key_map(data) == entries


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        f"2 AAAAAAAA {SALT} {OLD}",
        f"1 AAAAAAAA {SALT} ",
        f"1 AAAAAAAA {SALT} {OLD}x",
        f"1 AAAAAAAA {SALT}A {OLD}",
        f"1 AAAAAAAA {SALT} {OLD}\n",
        f"1 AAAAAAAA {SALT} {OLD * (MAX_KEY_DIGESTS + 1)}",
    ],
    ids=lambda one: repr(one[:40]),
)
def test_an_entry_of_another_format_is_ignored(text: str) -> None:
    good = StoredKeys("AAAAAAAA", SALT, (OLD, NEW))
    data = encode_key_map({Key("team", "a.b"): good}) | {"other.small": text}

    assert decode_key_map(data) == {Key("team", "a.b"): good}


@pytest.mark.parametrize("data", [None, {}])
async def test_a_map_that_was_deleted_or_edited_is_written_again(
    data: dict[str, str] | None,
) -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("one", digests(OLD))
    await operator.writer.once()
    before, operator.cluster.data = operator.cluster.data, data

    operator.now += 60
    await operator.writer.once()

    assert before is not None
    assert (operator.cluster.data, operator.cluster.writes) == (before, 2)
    operator.now += 60
    await operator.writer.once()
    assert operator.cluster.writes == 2, "a map that is as it should be"


def test_the_writer_goes_on_when_the_api_server_is_back(caplog: pytest.LogCaptureFixture) -> None:
    operator = Operator()
    operator.reconcile()
    operator.run_pod("small-1", digests(OLD))
    operator.cluster.down = True

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        operator.writer._clock = loop.time
        running = asyncio.create_task(operator.writer.run())
        await asyncio.sleep(30)
        assert operator.cluster.writes == 0
        operator.cluster.down = False
        await asyncio.sleep(30)
        running.cancel()

    run(scenario())

    assert decode_key_map(operator.cluster.data or {})[KEY].digests == (OLD,)
    assert operator.cluster.writes == 1
    assert "cannot write the key map of the activators: PATCH /configmaps: 503 down" in caplog.text
