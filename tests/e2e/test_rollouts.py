"""What clients see while the only replica is replaced, beside a Deployment without an operator.

They ask all the time, through the address of the Service. `pytest --exhaustive tests/e2e` replaces
the replica more often and in more ways, and prints the same table.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from cluster_namespace import Namespace, Object, resource
from disrupted_endpoints import Endpoint, Managed, bare_copy, delete, kill_container
from fault_selection import is_exhaustive
from mistral_dev.installation import OPERATOR_NAMESPACE, RELEASE
from mistral_dev.tiny_endpoint import tiny_spec
from mistral_operator.kube import names
from steady_outcomes import described, failures, row
from steady_traffic import Traffic
from watched_objects import Seen, watched

Table = Callable[[str], None]
Disruption = Callable[[Endpoint], None]

QUIET_SECONDS = 8
"""For what comes after a rollout: connections that clients keep, and the port of the activator."""

EDITS = 2
EDITS_EXHAUSTIVE = int(os.environ.get("MISTRAL_ROLLOUT_EDITS", "20"))

ALLOWED = 2
"""Requests that may be queued at once, in one of the tests."""
REQUESTS = 6


def edit(endpoint: Endpoint) -> None:
    endpoint.edit()


def evict(endpoint: Endpoint) -> None:
    endpoint.evict()


def delete_pod(endpoint: Endpoint) -> None:
    endpoint.delete_pod()


def kill_engine(endpoint: Endpoint) -> None:
    endpoint.kill_engine()


@pytest.fixture(scope="module")
def steady(strict: Namespace) -> Iterator[Managed]:
    """Return an endpoint of one replica."""
    strict.apply(resource("steady", tiny_spec()))
    strict.wait_until_ready("steady")
    yield Managed(strict, "steady")
    strict.kubectl("delete", "msd", "steady")


@pytest.fixture
def bare(steady: Managed) -> Iterator[Endpoint]:
    """Return the same pods without an operator."""
    made = bare_copy(steady, "bare")
    made.until_settled()
    yield made
    delete(made)


@contextmanager
def traffic(*endpoints: Endpoint) -> Iterator[dict[str, Traffic]]:
    """Let clients ask until the block ends and what follows it is over."""
    clients = {one.name: Traffic(one.namespace, one.name) for one in endpoints}
    with ExitStack() as stack:
        for one in clients.values():
            stack.enter_context(one)
        for one in clients.values():
            one.until_answered()
        yield clients
        time.sleep(QUIET_SECONDS)


def replace(disruption: Disruption, *endpoints: Endpoint) -> None:
    """Take the only replicas away, and wait for those that take their place."""
    before = [one.containers() for one in endpoints]
    for one in endpoints:
        disruption(one)
    for one, containers in zip(endpoints, before, strict=True):
        one.until_replaced(containers)


def none_failed(clients: Traffic) -> None:
    """Check that every request was answered completely."""
    failed = bool(failures(clients.outcomes))
    assert not failed, described(clients.outcomes)


def test_no_request_fails_while_edits_restart_the_only_replica(
    steady: Managed, bare: Endpoint, table: Table, request: pytest.FixtureRequest
) -> None:
    edits = EDITS_EXHAUSTIVE if is_exhaustive(request) else EDITS
    with traffic(steady) as clients:
        with traffic(bare) as others:
            replace(edit, steady, bare)
        table(row("edit", "bare", others["bare"].outcomes))
        delete(bare)  # which frees its cores
        for _ in range(edits - 1):
            replace(edit, steady)
    table(row(f"{edits} edits", "steady", clients["steady"].outcomes))

    assert failures(others["bare"].outcomes), "an edit disrupts nothing, so this proves nothing"
    none_failed(clients["steady"])


def test_no_request_fails_while_the_only_pod_is_evicted(steady: Managed, table: Table) -> None:
    (pod,) = steady.pods()
    with (
        watched(steady.namespace, "api/v1", "pods") as pods,
        watched(steady.namespace, "apis/discovery.k8s.io/v1", "endpointslices") as slices,
        traffic(steady) as clients,
        Traffic(
            *(steady.namespace, "steady", "models"), url=f"http://{pod['status']['podIP']}:8000"
        ) as direct,
    ):
        replace(evict, steady)
    table(row("eviction", "steady", clients["steady"].outcomes))
    terminating = pods.first(lambda one: is_terminating(one.body, pod))
    assert terminating is not None
    moments = {
        "the activator takes over": slices.first(leads_to_activator, terminating),
        "the pod leaves the Service": slices.first(leads_to_no_pod, terminating),
        "the pod accepts no request": min(one.began for one in failures(direct.outcomes)),
        "another pod is ready": slices.first(leads_to_pod, terminating),
    }
    for what, at in moments.items():
        table(f"eviction: {what}: {'never' if at is None else f'{at - terminating:.1f} s'}")

    none_failed(clients["steady"])


def is_terminating(body: Object, pod: Object) -> bool:
    """Tell whether a body is that of a pod, which is terminating."""
    metadata = body["metadata"]
    return metadata["uid"] == pod["metadata"]["uid"] and "deletionTimestamp" in metadata


def leads_to_activator(seen: Seen) -> bool:
    """Tell whether an EndpointSlice is the operator's, and has addresses."""
    manager = seen.body["metadata"]["labels"].get(names.LABEL_SLICE_MANAGER)
    return manager == names.MANAGED_BY and bool(seen.body.get("endpoints"))


def pods_in(seen: Seen, condition: str) -> int | None:
    """Return how many pods have a condition in a slice of Kubernetes, None in another slice."""
    labels = seen.body["metadata"]["labels"]
    is_own = labels.get(names.LABEL_SLICE_MANAGER) == names.MANAGED_BY
    if is_own or labels.get(names.LABEL_SERVICE) != "steady":
        return None
    return sum(bool(one["conditions"].get(condition)) for one in seen.body.get("endpoints") or ())


def leads_to_no_pod(seen: Seen) -> bool:
    return pods_in(seen, "serving") == 0


def leads_to_pod(seen: Seen) -> bool:
    return bool(pods_in(seen, "ready"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("disruption", [evict, delete_pod])
def test_the_same_disrupts_a_deployment_without_an_operator(
    steady: Managed, bare: Endpoint, disruption: Disruption, table: Table
) -> None:
    with traffic(steady, bare) as clients:
        replace(disruption, steady, bare)
    for name, one in clients.items():
        table(row(disruption.__name__, name, one.outcomes))

    assert failures(clients["bare"].outcomes), "nothing is disrupted, so this proves nothing"
    none_failed(clients["steady"])


@pytest.mark.exhaustive
def test_a_killed_engine_fails_what_it_was_answering_and_little_else(
    steady: Managed, bare: Endpoint, table: Table
) -> None:
    with traffic(steady, bare) as clients:
        replace(kill_engine, steady, bare)
    for name, one in clients.items():
        table(row("killed engine", name, one.outcomes))

    seen = {name: failures(one.outcomes) for name, one in clients.items()}
    assert seen["steady"]
    assert len(seen["steady"]) < len(seen["bare"]) / 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", ["at once", "while requests are queued"])
def test_no_request_fails_if_the_operator_is_killed_during_an_edit(
    steady: Managed, moment: str, table: Table
) -> None:
    def edit_and_kill(endpoint: Endpoint) -> None:
        endpoint.edit()
        if moment != "at once":
            steady.until_held()
        kill_container(operator, f"app.kubernetes.io/name={RELEASE}")

    operator = Namespace(steady.namespace.cluster, OPERATOR_NAMESPACE)
    with traffic(steady) as clients:
        replace(edit_and_kill, steady)
    table(row(f"operator killed {moment}", "steady", clients["steady"].outcomes))

    none_failed(clients["steady"])


@pytest.mark.exhaustive
def test_no_request_fails_if_one_of_two_activators_is_deleted_during_an_edit(
    steady: Managed, table: Table
) -> None:
    def edit_and_delete(endpoint: Endpoint) -> None:
        endpoint.edit()
        steady.until_held()
        operator.kubectl("delete", *pods()[0:1], "--wait=false")

    def pods() -> list[str]:
        selector = f"--selector=app.kubernetes.io/name={RELEASE}-activator"
        return operator.kubectl("get", "pod", selector, "--output=name").split()

    def scale(replicas: int) -> None:
        deployment = f"deployment/{RELEASE}-activator"
        operator.kubectl("scale", deployment, f"--replicas={replicas}")
        operator.kubectl("rollout", "status", deployment, "--timeout=120s")

    operator = Namespace(steady.namespace.cluster, OPERATOR_NAMESPACE)
    scale(2)
    with traffic(steady) as clients:
        replace(edit_and_delete, steady)
    scale(1)
    table(row("one of two activators deleted", "steady", clients["steady"].outcomes))

    none_failed(clients["steady"])


@pytest.mark.exhaustive
def test_requests_beyond_the_limit_are_told_to_come_back(steady: Managed) -> None:
    steady.patch({"rollout": {"maxRequests": ALLOWED}})
    before = steady.containers()
    steady.edit()
    steady.until_held()
    steady.namespace.until(lambda: not steady.containers() & before, "the old pod to be gone", 90)
    with ThreadPoolExecutor(REQUESTS) as clients:
        answers = list(clients.map(lambda _: chat(steady), range(REQUESTS)))
    steady.until_replaced(before)
    steady.patch({"rollout": None})

    refused = [(status, retry_after) for status, retry_after in answers if status != 200]
    assert [status for status, _ in refused] == [503] * (REQUESTS - ALLOWED)
    assert all(int(retry_after) > 0 for _, retry_after in refused)


def chat(endpoint: Endpoint) -> tuple[int, str]:
    """Send a chat, and return status and `Retry-After` of its response."""
    address = endpoint.namespace.wait_for("service", endpoint.name)["spec"]["clusterIP"]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    written = endpoint.namespace.cluster.run_inside(
        [
            *("curl", "--silent", "--output", "/dev/null", "--max-time", "280"),
            *("--write-out", "%{http_code} %header{retry-after}"),
            *(f"http://{address}:8000/v1/chat/completions", "--json", json.dumps(body)),
        ]
    )
    status, _, retry_after = written.partition(" ")
    return int(status), retry_after
