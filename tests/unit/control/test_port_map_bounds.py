"""No tenant makes the port map too large, and an endpoint that is in it never waits for a write."""

import asyncio
from typing import Any

import pytest

from builders import NAME, NAMESPACE, merged, next_version, resource, resource_body
from endpoint_slices import mapped
from fake_objects import ApiError
from mistral_operator.api import Resource
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import (
    FIRST_PORT,
    MAX_ENTRY_BYTES,
    PORTS,
    Terms,
    encode_port_map,
)
from mistral_operator.watch.store import Store
from operator_life import Life, play
from operator_scenarios import ACTIVATORS, SLEEPER

LARGEST_OBJECT = 2**20
"""Limit of the API server for keys and values of a ConfigMap, in bytes."""
KEY = Key(NAMESPACE, NAME)
LONGEST = Key("n" * 63, "e" * names.MAX_NAME)
PATHS = [f"/{number:02}{'x' * 250}" for number in range(32)]


def sleeper(**changes: Any) -> Resource:
    """Return an endpoint that may scale to zero."""
    return resource(merged({"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}, changes))


def size_of(data: dict[str, str]) -> int:
    """Return the size of a ConfigMap as the API server counts it."""
    return sum(len(key) + len(value.encode()) for key, value in data.items())


def terms(paths: tuple[str, ...] = (), model: str = "m") -> Terms:
    """Return terms of the largest numbers."""
    return Terms(model=model, keys=True, paths=paths, max_wait_seconds=3600, max_requests=10_000)


@pytest.mark.parametrize("characters", [0, 100, 10_000])
@pytest.mark.parametrize("model", ["m", "m" * 200])
def test_two_thousand_endpoints_fit_into_one_object(model: str, characters: int) -> None:
    entry = mapped(LONGEST, terms(tuple(PATHS[: characters // 250]), model)).bounded

    assert entry.size <= MAX_ENTRY_BYTES
    data = encode_port_map({FIRST_PORT + number: entry for number in range(PORTS)})
    assert size_of(data) <= LARGEST_OBJECT


def test_every_path_that_a_resource_may_have_fits_beside_usual_names() -> None:
    ports = ActivatorPorts(Store(kinds.CHILD_KINDS))
    owner = sleeper(
        model={"servedName": "m" * 110},
        gate={
            "paths": [f"/v1/path-{number:03}" for number in range(10)],
            "apiKeys": {"secret": "k"},
        },
        autoscaling={"activation": {"maxWaitSeconds": 3600, "maxRequests": 10_000}},
    )

    assert ports.port(LONGEST, owner) == FIRST_PORT
    assert ports.entries[FIRST_PORT].terms.paths == tuple(owner.spec.gate.paths)


def test_names_and_paths_that_are_too_long_together_get_no_port_and_lose_theirs() -> None:
    ports = ActivatorPorts(Store(kinds.CHILD_KINDS))
    paths = [f"/v1/path-{number:03}" for number in range(10)]
    assert ports.port(LONGEST, sleeper(gate={"paths": paths})) == FIRST_PORT

    assert (
        ports.port(LONGEST, sleeper(gate={"paths": paths}, model={"servedName": "m" * 200})) is None
    )
    assert ports.entries == {}
    refusal = ports.refusal(LONGEST) or ""
    assert "spec.gate.paths and its names are too long" in refusal
    assert f"of at most {MAX_ENTRY_BYTES}" in refusal

    assert ports.port(LONGEST, sleeper(model={"servedName": "m" * 200})) is not None
    assert ports.refusal(LONGEST) is None


def test_a_map_of_a_version_without_the_bound_keeps_its_ports_without_the_paths() -> None:
    store = Store(kinds.CHILD_KINDS)
    store.resources.put(resource_body())
    ports = ActivatorPorts(store)

    ports.restore(encode_port_map({FIRST_PORT + 3: mapped(KEY, terms(tuple(PATHS)))}))

    entry = ports.entries[FIRST_PORT + 3]
    assert (entry.terms, entry.size <= MAX_ENTRY_BYTES) == (terms(), True)


# --- A map that cannot be written -----------------------------------------------------------------


class Refusing:
    """An API server that keeps one ConfigMap and may refuse to write it."""

    def __init__(self) -> None:
        self.data: dict[str, str] | None = None
        self.error: ClusterError | None = None

    async def get(self, *_: object) -> dict[str, Any] | None:
        return (
            None
            if self.data is None
            else {"metadata": {"resourceVersion": next_version()}, "data": self.data}
        )

    async def apply(self, body: dict[str, Any], *, force: bool) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.data = body["data"]
        return merged(body, {"metadata": {"resourceVersion": next_version()}})


REJECTED = ClusterError(422, "Too long", "PATCH")
OVERLOADED = Unavailable(503, "overloaded", "PATCH")


@pytest.mark.parametrize("error", [REJECTED, OVERLOADED], ids=["rejected", "overloaded"])
async def test_only_an_endpoint_that_is_not_in_the_map_waits_for_a_write(
    error: ClusterError,
) -> None:
    cluster, ports = Refusing(), ActivatorPorts(Store(kinds.CHILD_KINDS))
    writer = PortMapWriter(cluster, "mistral-system", ports)  # type: ignore[arg-type]
    ports.port(KEY, sleeper())
    await writer.publish_for(KEY)
    cluster.error = error
    new = Key("team-b", NAME)
    ports.port(new, sleeper())

    await writer.publish_for(KEY)
    with pytest.raises(ClusterError):
        await writer.publish_for(new)

    # With another port, its slice would lead to the endpoint that had it.
    ports.forget(KEY)
    ports.port(KEY, sleeper())
    with pytest.raises(ClusterError):
        await writer.publish_for(KEY)

    cluster.error = None
    await writer.publish_for(new)
    assert cluster.data == encode_port_map(ports.entries)


async def test_the_operator_starts_although_the_map_is_rejected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, ports = Refusing(), ActivatorPorts(Store(kinds.CHILD_KINDS))
    writer = PortMapWriter(cluster, "mistral-system", ports)  # type: ignore[arg-type]

    cluster.error = REJECTED
    await writer.begin()
    assert "cannot write the port map of the activators" in caplog.text

    cluster.error = OVERLOADED
    with pytest.raises(Unavailable):
        await writer.begin()


def _reject_large_maps(life: Life, limit: int = LARGEST_OBJECT) -> list[int]:
    """Let the API server reject what is larger than its limit; return the sizes."""
    rejected: list[int] = []
    apply = life.objects.apply

    def limited(kind: Any, key: Any, body: Any, **options: Any) -> Any:
        if kind == kinds.CONFIG_MAP and (size := size_of(body["data"])) > limit:
            rejected.append(size)
            raise ApiError(422, "Invalid", "Too long: may not be more than 1048576 bytes")
        return apply(kind, key, body, **options)

    life.objects.apply = limited  # type: ignore[method-assign, assignment]
    return rejected


def _create_others(life: Life, count: int, spec: Any) -> None:
    for number in range(count):
        metadata = {"name": f"e{number}", "namespace": f"greedy-{number // 100}"}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
        life.objects.create(kinds.RESOURCE, {**body, "spec": spec})


async def _scale_to_zero(life: Life) -> None:
    life.activators = ACTIVATORS
    await life.start()
    life.create(SLEEPER)
    await life.settle()
    await asyncio.sleep(2000)
    assert life.reason() == "Asleep"


@pytest.mark.parametrize("limit", [LARGEST_OBJECT, 1000], ids=["large paths", "any other cause"])
def test_no_endpoint_of_another_tenant_keeps_one_at_zero(limit: int) -> None:
    """130 endpoints without a pod made the map larger than 1 MiB, and nothing started any more."""

    async def scenario(life: Life) -> None:
        await _scale_to_zero(life)
        rejected = _reject_large_maps(life, limit)
        paths = PATHS if limit == LARGEST_OBJECT else []
        _create_others(life, 130, merged(SLEEPER, {"replicas": 0, "gate": {"paths": paths}}))
        await asyncio.sleep(120)
        assert bool(rejected) == (limit < LARGEST_OBJECT)

        life.held = 1
        await asyncio.sleep(60)
        assert life.pods()

    play(scenario)
