"""Every expression of the rules and the dashboard gives data, in a real Prometheus.

It scrapes the metrics that the code has, so a metric or a label that is renamed fails here.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from builders import CONTEXT, NAME, NAMESPACE, resource
from chart_rendering import CHART, of_kind, render, render_activator
from chart_rendering import NAMESPACE as OPERATOR_NAMESPACE
from mistral_dev.commands import wait_until
from mistral_dev.dashboard import dashboard
from mistral_dev.dashboard_panels import ANNOTATIONS, SECTIONS
from mistral_operator import metrics as operator_metrics
from mistral_operator.activator import metrics as activator_metrics
from mistral_operator.api import ConditionType, Reason, ScalingReason, Status
from mistral_operator.autoscaling import Decision, LoadSample, PodLoad
from mistral_operator.control.collectors import FleetCollector, Reported, ScalingCollector
from mistral_operator.render.monitor import pod_monitor
from mistral_server.contract import CompileCacheReport, FailureClass, ServerSettings, Stage
from mistral_server.gate import metrics as gate_metrics
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState
from prometheus_server import Prometheus, Target
from registries import registry_of
from status_inputs import condition

pytestmark = pytest.mark.process

RULES = CHART / "rules" / "mistral.yaml"

FED_BY_VLLM = {
    "vllm:time_to_first_token_seconds_bucket": "the engine alone knows when a token is computed",
    "vllm:time_to_first_token_seconds_count": "as its buckets",
    "vllm:inter_token_latency_seconds_bucket": "as the first token",
    "vllm:e2e_request_latency_seconds_bucket": "as the first token",
    "vllm:prompt_tokens_total": "the engine alone counts all tokens",
    "vllm:generation_tokens_total": "the engine alone counts all tokens",
    "vllm:kv_cache_usage_perc": "the cache is the engine's",
    "vllm:prefix_cache_hits_total": "the cache is the engine's",
    "vllm:prefix_cache_queries_total": "the cache is the engine's",
    "vllm:num_preemptions_total": "the scheduler is the engine's",
    "vllm:num_requests_running": "the scheduler is the engine's",
    "vllm:num_requests_waiting": "the scheduler is the engine's",
}
"""The metrics that no code of ours makes, and why. `vllm_lines` replaces them."""

FED_BY_DCGM = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_TEMP")
"""Gauges of NVIDIA's exporter for GPUs, with the labels that it gives them on Kubernetes."""


def vllm_lines(scrape: int) -> str:
    """Return what vLLM 0.32 writes of these metrics, at a scrape."""
    labels = 'engine="0",model_name="mistral-small"'
    lines: list[str] = []
    for name in ("time_to_first_token", "inter_token_latency", "e2e_request_latency"):
        family = f"vllm:{name}_seconds"
        lines += [
            f"# TYPE {family} histogram",
            f'{family}_bucket{{{labels},le="0.1"}} {20.0 * scrape}',
            f'{family}_bucket{{{labels},le="80.0"}} {30.0 * scrape}',
            f'{family}_bucket{{{labels},le="+Inf"}} {30.0 * scrape}',
            f"{family}_count{{{labels}}} {30.0 * scrape}",
            f"{family}_sum{{{labels}}} {400.0 * scrape}",
        ]
    counters = ("prompt_tokens", "generation_tokens", "prefix_cache_hits", "prefix_cache_queries")
    for name in (*counters, "num_preemptions"):
        lines += [f"# TYPE vllm:{name} counter", f"vllm:{name}_total{{{labels}}} {9.0 * scrape}"]
    gauges = {
        "kv_cache_usage_perc": 0.99,
        "num_requests_running": 4.0,
        "num_requests_waiting": 30.0,
    }
    for name, value in gauges.items():
        lines += [f"# TYPE vllm:{name} gauge", f"vllm:{name}{{{labels}}} {value}"]
    return "".join(f"{line}\n" for line in lines)


def dcgm_lines() -> bytes:
    """Return what NVIDIA's exporter writes of the GPUs of a pod."""
    labels = f'gpu="0",namespace="{NAMESPACE}",pod="{NAME}-0",container="server"'
    return "".join(f"# TYPE {name} gauge\n{name}{{{labels}}} 50\n" for name in FED_BY_DCGM).encode()


def rule_expressions() -> dict[str, str]:
    """Return the expression of every rule in the chart's file, by its name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


def dashboard_expressions() -> dict[str, str]:
    """Return every expression of the dashboard, with its variables as Grafana fills them in."""
    chosen = {"$namespace": NAMESPACE, "$name": f"({NAME}|other)"}
    shown = {
        f"{panel.title}: {legend}": expression
        for panels in SECTIONS.values()
        for panel in panels
        for legend, expression in panel.expressions().items()
    }
    marks = {f"mark: {name}": expression for name, (expression, _) in ANNOTATIONS.items()}
    return {
        name: re.sub(r"\$\w+", lambda match: chosen[match[0]], expression)
        for name, expression in (shown | marks).items()
    }


EXPRESSIONS = rule_expressions() | dashboard_expressions()


UNAVAILABLE = (
    (ConditionType.READY, "False"),
    (ConditionType.AVAILABLE, "False"),
    (ConditionType.DEGRADED, "True"),
    (ConditionType.PROGRESSING, "True"),
    (ConditionType.SCALING_LIMITED, "True"),
    (ConditionType.MODEL_FITS, "False"),
)
AVAILABLE = [condition(ConditionType.AVAILABLE, "True")]
STARTING = "starting"
"""An endpoint that starts, and of which nothing is known but its restarts."""
SETTINGS = '{"model": {"path": "/m", "served_name": "small", "id": "m"}}'


class Signals:
    """The metrics of an endpoint and of the operator, both in a bad state that gets worse."""

    def __init__(self) -> None:
        self._endpoint = registry_of(gate_metrics)
        self._operator = registry_of(operator_metrics)
        self.fleet, self.scaling = FleetCollector(), ScalingCollector()
        self._operator.register(self.fleet)
        self._operator.register(self.scaling)
        self._activator = registry_of(activator_metrics)
        self._server = ServerState(ServerSettings.model_validate_json(SETTINGS))
        self._server.stages.enter(Stage.LOADING)
        self._server.compile_cache = CompileCacheReport(use="miss")
        self._scrapes = 0
        self._ends = 0

    def endpoint(self) -> bytes:
        """Count a third of the generations as loops, and two of five tool calls as errors."""
        self._scrapes += 1
        gate_metrics.GENERATIONS.labels("stop").inc(80)
        gate_metrics.GENERATIONS.labels("repetition").inc(40)
        gate_metrics.LOOPS.labels("exact", "stopped").inc(40)
        gate_metrics.LOOP_TOKENS.inc(20_480)
        gate_metrics.TOOL_CALLS.labels("ok", "true").inc(30)
        gate_metrics.TOOL_CALLS.labels("malformed_json", "true").inc(20)
        gate_metrics.ERRORS.labels("stream").inc()
        gate_metrics.CHANGES.labels("max_tokens").inc()
        gate_metrics.REFUSALS.labels("path").inc()
        gate_metrics.RESPONSES.labels("generation", "2xx").inc(20)
        gate_metrics.RESPONSES.labels("generation", "5xx").inc(20)
        gate_metrics.IN_FLIGHT.labels("productive").set(6)
        gate_metrics.IN_FLIGHT.labels("looping").set(2)
        return generate_latest(self._endpoint) + vllm_lines(self._scrapes).encode()

    def supervisor(self) -> bytes:
        """Restart."""
        return ServerMetrics(self._server).exposition()

    def operator(self) -> bytes:
        """Let a reconciliation fail."""
        operator_metrics.RECONCILES.labels("error").inc()
        operator_metrics.RECONCILE_SECONDS.observe(0.3)
        operator_metrics.QUEUE_DEPTH.set(1)
        operator_metrics.QUEUE_RETRYING.set(1)
        operator_metrics.LEADER.set(0)
        operator_metrics.API_SERVER_REACHABLE.set(0)
        operator_metrics.ISOLATED_FAILURES.labels("resources").inc()
        self._run_out_of_memory()
        return generate_latest(self._operator)

    def activator(self) -> bytes:
        """Refuse requests of an endpoint that does not scale from zero."""
        activator_metrics.REQUESTS.labels(NAMESPACE, NAME, "timed_out").inc(3)
        activator_metrics.REQUESTS.labels(NAMESPACE, NAME, "misdirected").inc()
        activator_metrics.HELD.labels(NAMESPACE, NAME).set(2)
        activator_metrics.WAIT_SECONDS.observe(20)
        return generate_latest(self._activator)

    def _run_out_of_memory(self) -> None:
        """Let memory run out once more."""
        self._ends += 1
        reported = self.fleet.statuses[NAMESPACE, NAME]
        failures = ((FailureClass.HOST_OOM, self._ends),)
        worse = replace(reported, failures=failures)
        if self._ends > 2:  # it was available before
            worse = replace(worse, conditions=UNAVAILABLE, limited=Reason.AT_MAXIMUM)
        self.fleet.statuses[NAMESPACE, NAME] = worse


def endpoint_labels() -> dict[str, str]:
    """Return the labels that the PodMonitor of an endpoint puts on every series."""
    endpoint, _ = pod_monitor(resource(), CONTEXT)["spec"]["podMetricsEndpoints"]
    return {
        "namespace": NAMESPACE,
        "pod": f"{NAME}-0",
        "container": "server",
        **{one["targetLabel"]: NAME for one in endpoint["relabelings"]},
    }


def operator_target(signals: Signals) -> Target:
    """Return the operator as the chart's PodMonitor lets it be scraped."""
    (monitor,) = of_kind(render({"metrics": {"podMonitor": {"enabled": True}}}), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = {"namespace": OPERATOR_NAMESPACE, "pod": "operator-0", "container": "operator"}
    return Target(signals.operator, labels, honor_labels=endpoint["honorLabels"])


def activator_target(signals: Signals) -> Target:
    """Return the activator as the chart's PodMonitor lets it be scraped."""
    values = {"metrics": {"podMonitor": {"enabled": True}}}
    (monitor,) = of_kind(render_activator(values), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = {"namespace": OPERATOR_NAMESPACE, "pod": "activator-0", "container": "activator"}
    return Target(signals.activator, labels, honor_labels=endpoint["honorLabels"])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run Prometheus beside an endpoint and an operator that are both in trouble."""
    signals = Signals()
    targets = {
        "endpoint": Target(signals.endpoint, endpoint_labels()),
        # Of another endpoint: this one is not scraped, says an alert.
        "supervisor": Target(signals.supervisor, {**endpoint_labels(), "name": "other"}),
        "dcgm": Target(dcgm_lines, {"namespace": "gpu-operator", "pod": "dcgm-0"}),
        "dcgm-honored": Target(dcgm_lines, {"namespace": "gpu-operator"}, honor_labels=True),
        "operator": operator_target(signals),
        "activator": activator_target(signals),
    }
    status = Status(conditions=AVAILABLE, replicas=2, ready_replicas=1)
    without_keda = condition(ConditionType.SCALING_LIMITED, "True", Reason.KEDA_MISSING)
    starting = Status(conditions=[condition(status="False"), without_keda], replicas=1)
    folder = tmp_path_factory.mktemp("prometheus")
    sample = LoadSample((PodLoad(running=9, looping=8),))
    frozen = Decision(2, ScalingReason.FROZEN, sample=sample, target=10)
    signals.fleet.statuses[NAMESPACE, NAME] = Reported.of(status, 2)
    signals.fleet.statuses[NAMESPACE, STARTING] = Reported.of(starting, 1)
    signals.scaling.decisions[NAMESPACE, NAME] = frozen
    with Prometheus(folder, targets, RULES) as started:
        yield started
    for gauge in (operator_metrics.QUEUE_DEPTH, operator_metrics.QUEUE_RETRYING):
        gauge.set(0)
    activator_metrics.HELD.clear()
    for state in ("productive", "looping"):
        gate_metrics.IN_FLIGHT.labels(state).set(0)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_gives_data(prometheus: Prometheus, expression: str) -> None:
    samples: list[dict[str, Any]] = []

    def has_data() -> bool:
        samples[:] = prometheus.query(expression)
        return bool(samples)

    # Two scrapes, and an evaluation of each group after them.
    wait_until(has_data, f"data of {expression}", 20)
    assert "NaN" not in {sample["value"][1] for sample in samples}


def test_the_rates_are_those_of_what_was_counted(prometheus: Prometheus) -> None:
    def rate(record: str) -> float:
        (sample,) = prometheus.query(f"mistral:{record}")
        assert (sample["metric"]["namespace"], sample["metric"]["name"]) == (NAMESPACE, NAME)
        return float(sample["value"][1])

    wait_until(
        lambda: bool(prometheus.query("mistral:generations:increase1h >= 100")), "traffic", 20
    )

    assert rate("generation_loops:ratio1h") == pytest.approx(1 / 3)
    assert rate("tool_call_errors:ratio_rate5m") == pytest.approx(2 / 5)
    assert rate("generation_loops:wilson_lower1h") < 1 / 3 < rate("generation_loops:wilson_upper1h")


def test_every_rule_is_healthy_and_every_alert_can_say_what_it_has_to(
    prometheus: Prometheus,
) -> None:
    alerts = {name for name in rule_expressions() if name.startswith("Mistral")}

    def active() -> set[str]:
        return {rule["name"] for rule in prometheus.rule_states() if rule.get("alerts")}

    wait_until(lambda: active() == alerts, "every alert to be pending", 20)
    for rule in prometheus.rule_states():
        assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule["name"]
        for alert in rule.get("alerts", ()):
            assert "error expanding" not in str(alert["annotations"])


@pytest.mark.parametrize("variable", ["namespace", "name"])
def test_a_variable_of_the_dashboard_finds_the_endpoint(
    prometheus: Prometheus, variable: str
) -> None:
    templating = yaml.safe_load(dashboard())["templating"]["list"]
    (definition,) = (one for one in templating if one["name"] == variable)
    match = re.fullmatch(r"label_values\((.*), (\w+)\)", definition["query"]["query"])
    assert match is not None
    selector, label = match[1].replace("$namespace", NAMESPACE), match[2]

    wait_until(lambda: bool(prometheus.query(selector)), selector, 20)

    values = {sample["metric"][label] for sample in prometheus.query(selector)}
    assert values == {"namespace": {NAMESPACE}, "name": {NAME, STARTING}}[variable]


def test_nothing_else_is_fed_by_vllm_alone() -> None:
    named = {name for text in EXPRESSIONS.values() for name in re.findall(r"vllm:\w+", text)}

    assert named == set(FED_BY_VLLM)
    assert all(name in vllm_lines(1) for name in named)
    gpus = {name for text in EXPRESSIONS.values() for name in re.findall(r"DCGM_\w+", text)}
    assert gpus == set(FED_BY_DCGM)
