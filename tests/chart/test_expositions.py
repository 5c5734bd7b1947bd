"""Each exposition is one that promtool finds nothing wrong with, and has no series too many."""

import subprocess
from collections.abc import Iterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, generate_latest

from builders import NAME, NAMESPACE
from gate_engine import FakeEngine, gate, settings
from mistral_dev import tools
from mistral_operator import metrics as operator_metrics
from mistral_operator.activator import metrics as activator_metrics
from mistral_operator.api import ConditionType, ScalingReason, Status
from mistral_operator.autoscaling import Decision, LoadSample, PodLoad
from mistral_operator.control.collectors import FleetCollector, Reported, ScalingCollector
from mistral_operator.process.http_server import Health, create_app
from mistral_server.contract import SERVER_SETTINGS_ENV, ServerSettings
from mistral_server.gate import metrics as gate_metrics
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState
from registries import registry_of
from status_inputs import condition


async def served(registry: CollectorRegistry) -> str:
    """Return what the operator or the activator serves at /metrics."""
    async with TestClient(TestServer(create_app(Health(), registry=registry))) as client:
        return await (await client.get("/metrics")).text()


@pytest.fixture
def fleet() -> CollectorRegistry:
    """Return the metrics of an operator with an endpoint that it scales."""
    registry = registry_of(operator_metrics)
    statuses, scaling = FleetCollector(), ScalingCollector()
    status = Status(conditions=[condition(ConditionType.AVAILABLE, "True")], replicas=1)
    statuses.statuses[NAMESPACE, NAME] = Reported.of(status, 1)
    sample = LoadSample((PodLoad(running=9, looping=8),))
    decision = Decision(2, ScalingReason.FROZEN, sample=sample, target=10)
    scaling.decisions[NAMESPACE, NAME] = decision
    registry.register(statuses)
    registry.register(scaling)
    operator_metrics.RECONCILES.labels("settled").inc()
    return registry


def problems(exposition: str) -> str:
    """Return what promtool says of an exposition."""
    program = tools.ensure(["promtool"])["promtool"]
    done = subprocess.run(
        [program, "check", "metrics"], input=exposition, capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def created(exposition: str) -> Iterator[str]:
    """Yield the series that say when another one was created."""
    yield from (line for line in exposition.splitlines() if "_created" in line.partition("{")[0])


async def test_the_metrics_of_the_operator_are_clean(fleet: CollectorRegistry) -> None:
    text = await served(fleet)

    assert "mistral_operator_reconcile_total" in text
    assert list(created(text)) == []
    assert problems(text) == ""


async def test_the_metrics_of_the_activator_are_clean() -> None:
    activator_metrics.REQUESTS.labels(NAMESPACE, NAME, "forwarded").inc()
    text = await served(registry_of(activator_metrics))

    assert "mistral_activator_requests_total" in text
    assert list(created(text)) == []
    assert problems(text) == ""


def test_the_metrics_of_the_supervisor_are_clean() -> None:
    document = settings()[SERVER_SETTINGS_ENV]
    state = ServerState(ServerSettings.model_validate_json(document))
    text = ServerMetrics(state).exposition().decode()

    assert "mistral_engine_exits_total" in text
    assert list(created(text)) == []
    assert problems(text) == ""


def test_the_metrics_of_the_gate_are_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings().items():
        monkeypatch.setenv(name, value)
    gate(FakeEngine())
    # The registry of the process may have metrics of an operator from another test.
    text = generate_latest(registry_of(gate_metrics)).decode()

    assert "mistral_generations_total" in text
    assert list(created(text)) == []
    assert problems(text) == ""
