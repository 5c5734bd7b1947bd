"""Reading an endpoint with the permissions of its user."""

import time

import pytest

from builders import (
    EARLIER,
    NAME,
    NAMESPACE,
    NOW,
    Object,
    container,
    merged,
    node_body,
    pod_body,
    ready_pod,
    resource_body,
    signal,
)
from fake_api_server import FakeApiServer
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.endpoint import Endpoint
from mistral_operator.plugin.endpoint_document import endpoint_document
from mistral_operator.plugin.endpoint_text import endpoint_text
from mistral_operator.plugin.read_endpoint import EndpointMissing, read_endpoint
from mistral_operator.plugin.reader import PODS_AT_ONCE, Reader
from plugin_cluster import GPU_LABELS, HEALTHY_STATUS, Objects, serving

SIGNALS = f"/api/v1/namespaces/{NAMESPACE}/pods/small-1:8001/proxy/signals"


def event(message: str, time: str, uid: str) -> Object:
    """Return an Event about the resource."""
    return {
        "metadata": {"name": message, "namespace": NAMESPACE},
        "involvedObject": {"uid": uid},
        "type": "Normal",
        "reason": "Ready",
        "message": message,
        "lastTimestamp": time,
    }


def endpoint_objects() -> Objects:
    """Return an endpoint with a pod on a node."""
    return {
        "resource": (kinds.RESOURCE, {**resource_body(), "status": HEALTHY_STATUS}),
        "pod": (kinds.POD, merged(ready_pod(), {"spec": {"nodeName": "gpu-0"}})),
        "node": (kinds.NODE, node_body(metadata={"labels": GPU_LABELS})),
    }


async def read(server: FakeApiServer, name: str = NAME) -> tuple[Endpoint, list[str]]:
    """Return an endpoint, and what could not be read."""
    async with server.cluster() as cluster:
        reader = Reader(cluster)
        return await read_endpoint(reader, Key(NAMESPACE, name)), reader.notes


def with_signals(server: FakeApiServer) -> FakeApiServer:
    """Let the pod report what it does."""
    server.texts[SIGNALS] = signal(running=7).model_dump_json()
    return server


async def test_an_endpoint_has_its_pods_with_node_and_signals() -> None:
    endpoint, notes = await read(with_signals(serving(endpoint_objects())))

    (replica,) = endpoint.replicas or ()
    assert notes == []
    assert (replica.state, replica.node, replica.gpu) == ("ready", "gpu-0", "8 NVIDIA-H200")
    assert replica.signal is not None
    assert replica.signal.running == 7
    assert endpoint.reason == "Ready"


async def test_an_endpoint_has_the_pod_that_fetches_its_model_in_advance() -> None:
    labels = names.prefetch_labels(NAME)
    body = pod_body(container("fetch"), name="small-prefetch-x", labels=labels)
    pod = merged(body, {"spec": {"nodeName": "gpu-0"}})
    server = serving(endpoint_objects() | {"prefetch": (kinds.POD, pod)})

    endpoint, _ = await read(with_signals(server))

    (replica,), (prefetching,) = endpoint.replicas or (), endpoint.prefetch_pods or ()
    assert replica.facts.name == "small-1"
    assert (prefetching.facts.name, prefetching.state) == ("small-prefetch-x", "fetching")
    assert "small-prefetch-x  fetching" in endpoint_text(endpoint, [], NOW)


async def test_an_endpoint_has_the_last_edit_of_its_spec() -> None:
    body = resource_body({"replicas": 1})
    server = serving(endpoint_objects() | {"resource": (kinds.RESOURCE, body)})

    endpoint, _ = await read(with_signals(server))

    assert endpoint_document(endpoint, ())["edited"] == {
        "time": NOW,
        "program": "kubectl-create",
    }


async def test_events_are_the_newest_first() -> None:
    server = with_signals(serving(endpoint_objects()))
    uid = server.objects.get(kinds.RESOURCE, Key(NAMESPACE, NAME))["metadata"]["uid"]
    for message, when in (("older", EARLIER), ("newer", NOW)):
        server.objects.create(kinds.EVENT, event(message, when, uid))
    server.objects.create(kinds.EVENT, event("of another", NOW, "other"))

    endpoint, _ = await read(server)

    assert [one.message for one in endpoint.happenings or ()] == ["newer", "older"]


@pytest.mark.parametrize(
    ("plural", "note"),
    [
        ("nodes", "cannot get nodes: ask an administrator to allow it"),
        ("pods", "cannot list pods in namespace models: ask an administrator to allow it"),
        ("events", "cannot list events in namespace models: ask an administrator to allow it"),
        ("proxy", "cannot get pods/proxy in namespace models: ask an administrator to allow it"),
    ],
)
async def test_what_may_not_be_read_is_said(plural: str, note: str) -> None:
    endpoint, notes = await read(with_signals(serving(endpoint_objects(), forbidden=[plural])))

    assert notes == [note]
    assert note in endpoint_text(endpoint, notes, NOW)
    assert endpoint_document(endpoint, notes)["notShown"] == notes


async def test_a_resource_that_may_not_be_read_is_an_error_that_says_so() -> None:
    server = serving(endpoint_objects(), forbidden=["mistralsmalldeployments"])

    with pytest.raises(EndpointMissing, match=r"cannot get mistralsmalldeployments\.inference"):
        await read(server)


async def test_a_resource_that_does_not_exist_is_an_error_that_says_so() -> None:
    with pytest.raises(EndpointMissing, match="other in namespace models: it does not exist"):
        await read(serving(endpoint_objects()), name="other")


async def test_a_pod_that_answers_something_else_is_noted() -> None:
    server = serving(endpoint_objects())
    server.texts[SIGNALS] = "<html>"

    _, notes = await read(server)

    assert notes == ["pod small-1 answers at port 8001 with something else than its signals"]


async def test_texts_of_others_do_not_control_the_terminal() -> None:
    objects = endpoint_objects()
    kind, body = objects["resource"]
    conditions = [
        {**one, "message": "\x1b[2J\x07bad\u202etext\nnext"} for one in HEALTHY_STATUS["conditions"]
    ]
    objects["resource"] = kind, {**body, "status": {**HEALTHY_STATUS, "conditions": conditions}}

    endpoint, notes = await read(with_signals(serving(objects)))
    text = endpoint_text(endpoint, notes, NOW)

    assert "badtext next" in text
    assert all(line.isprintable() for line in text.split("\n"))


def with_pods(number: int, silent: int) -> FakeApiServer:
    """Return an endpoint with many pods on a node, of which some never answer."""
    objects = endpoint_objects()
    kind, pod = objects.pop("pod")
    names = [f"small-{one}" for one in range(number)]
    objects |= {one: (kind, merged(pod, {"metadata": {"name": one}})) for one in names}
    server = serving(objects)
    paths = [SIGNALS.replace("small-1:", f"{one}:") for one in names]
    server.texts = dict.fromkeys(paths, signal(running=7).model_dump_json())
    never = {*paths[:silent]}
    server.silent = lambda path: path in never
    return server


async def read_in(server: FakeApiServer, seconds: float) -> tuple[Endpoint, list[str], float]:
    """Return an endpoint, what could not be read, and how long that took."""
    async with server.cluster() as cluster:
        reader, start = Reader(cluster, pod_seconds=seconds), time.monotonic()
        endpoint = await read_endpoint(reader, Key(NAMESPACE, NAME))
        return endpoint, reader.notes, time.monotonic() - start


async def test_pods_that_do_not_answer_are_waited_for_at_once() -> None:
    endpoint, notes, elapsed = await read_in(with_pods(60, silent=50), seconds=2.0)

    assert 2 <= elapsed < 4
    assert len([one for one in endpoint.replicas or () if one.signal]) == 10
    assert {one.gpu for one in endpoint.replicas or ()} == {"8 NVIDIA-H200"}
    assert notes == [
        (
            "50 pods do not answer at port 8001 by way of the API server (small-0, small-1,"
            " small-10 and 47 more): a NetworkPolicy may not allow it"
        )
    ]


async def test_pods_behind_too_many_that_do_not_answer_are_counted() -> None:
    _, notes, elapsed = await read_in(with_pods(PODS_AT_ONCE + 7, PODS_AT_ONCE + 7), seconds=1.0)

    assert elapsed < 3
    assert notes == [
        (
            f"{PODS_AT_ONCE} pods do not answer at port 8001 by way of the API server (small-0,"
            f" small-1, small-10 and {PODS_AT_ONCE - 3} more): a NetworkPolicy may not allow it"
        ),
        (
            "there was no time for the answers of 7 more pods (small-93, small-94, small-95 and 4"
            " more)"
        ),
    ]


async def test_what_is_not_known_is_null_in_the_document() -> None:
    endpoint, notes = await read(serving(endpoint_objects(), forbidden=["pods", "events"]))
    document = endpoint_document(endpoint, notes)

    assert (document["replicas"], document["events"]) == (None, None)
    assert "not known: they could not be read" in endpoint_text(endpoint, notes, NOW)
