"""The panels of the Grafana dashboard, from top to bottom.

First whether it is up, then what an incident asks in this order: load, latency, errors. Rates come
from the recording rules in the chart's rules/mistral.yaml, so that the dashboard shows what the
alerts compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CHOSEN = 'namespace=~"$namespace", name=~"$name"'
_WHO = "{{namespace}}/{{name}}"
_BY = "by (namespace, name)"

CARD_RATES = {"model card, 3.1": 0.0211, "model card, 3.2": 0.0129}
"""Rates of endless generations in the model card. Its prompts and rule are not published, so these
are reference lines, and never a goal or an alert."""


@dataclass(frozen=True)
class Panel:
    """One panel: expressions by their legends."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    references: dict[str, float] = field(default_factory=dict)
    """Constant lines."""
    kind: Literal["timeseries", "state-timeline", "stat"] = "timeseries"
    states: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Text and color of each value, where values are states."""

    def expressions(self) -> dict[str, str]:
        """Return all expressions by their legends, the constant lines among them."""
        return self.queries | {name: f"vector({at})" for name, at in self.references.items()}


def _interval(what: str, window: str = "1h") -> dict[str, str]:
    """Return a rate, both ends of its interval, and where the alert begins."""
    return {
        _WHO: f"mistral:{what}:ratio{window}{{{CHOSEN}}}",
        f"{_WHO} 95 % from": f"mistral:{what}:wilson_lower{window}{{{CHOSEN}}}",
        f"{_WHO} 95 % to": f"mistral:{what}:wilson_upper{window}{{{CHOSEN}}}",
        "alert above": f"mistral:{what}:alert_above",
    }


def _rate(metric: str, label: str) -> str:
    return f"sum by ({label}) (rate({metric}{{{CHOSEN}}}[5m]))"


def _rate_of(metric: str) -> str:
    return f"sum {_BY} (rate({metric}{{{CHOSEN}}}[5m]))"


def _quantiles(metric: str) -> dict[str, str]:
    """Return median and 95th percentile of a histogram of vLLM."""
    buckets = f"sum by (namespace, name, le) (rate({metric}_bucket{{{CHOSEN}}}[5m]))"
    return {
        f"{_WHO} p{percent}": f"histogram_quantile({percent / 100}, {buckets})"
        for percent in (50, 95)
    }


def _condition(kind: str) -> str:
    """Return 1 for each endpoint whose condition is True, and 0 for others."""
    every = f"max {_BY} (mistral_deployment_condition{{{CHOSEN}}})"
    true = f'mistral_deployment_condition{{{CHOSEN}, type="{kind}", status="True"}}'
    return f"(max {_BY} ({true}) or 0 * {every})"


def _of_gpus(metric: str) -> dict[str, str]:
    """Return a metric of the GPUs that the endpoints' pods use.

    Prometheus calls the pod's labels `exported_...` unless it honors those of the exporter.
    """
    return {
        f"{{{{{prefix}pod}}}} GPU {{{{gpu}}}}": f"{metric}{{"
        f'{prefix}namespace=~"$namespace", {prefix}pod=~"($name)-.+"}}'
        for prefix in ("exported_", "")
    }


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Is it up": (
        Panel(
            "Endpoints",
            "`partly up`: some replicas do not serve, or not in the desired configuration. `down`"
            " includes suspended endpoints. `kubectl get msd -o wide` shows the reason.",
            {_WHO: f"2 * {_condition('Available')} + {_condition('Ready')}"},
            kind="stat",
            states={
                0: ("down", "red"),
                1: ("scaled to zero", "blue"),
                2: ("partly up", "orange"),
                3: ("up", "green"),
            },
        ),
        Panel(
            "Firing alerts",
            "Of all endpoints and of the operator. docs/monitoring.md has a section for each.",
            {
                "{{severity}}: {{alertname}}": "count by (severity, alertname)"
                ' (ALERTS{alertname=~"Mistral.+", alertstate="firing"})'
            },
            kind="stat",
        ),
        Panel(
            "Replicas",
            "Desired, existing and ready replicas.",
            {
                f"{_WHO} {{{{state}}}}": "max by (namespace, name, state)"
                f" (mistral_deployment_replicas{{{CHOSEN}}})"
            },
        ),
    ),
    "Load": (
        Panel(
            "Responses by status",
            "Of requests for generated text, and of others, without probes that succeed. `cut`: the"
            " server failed after the response had begun. `disconnected`: the client left before.",
            {"{{kind}} {{status}}": _rate("mistral_responses_total", "kind, status")},
            "reqps",
        ),
        Panel(
            "Tokens",
            "Tokens of prompts and of responses, per second.",
            {
                f"{_WHO} in": _rate_of("vllm:prompt_tokens_total"),
                f"{_WHO} out": _rate_of("vllm:generation_tokens_total"),
            },
        ),
        Panel(
            "Queue",
            "Running and waiting requests in vLLM.",
            {
                f"{_WHO} running": f"sum {_BY} (vllm:num_requests_running{{{CHOSEN}}})",
                f"{_WHO} waiting": f"sum {_BY} (vllm:num_requests_waiting{{{CHOSEN}}})",
            },
        ),
        Panel(
            "Requests in flight",
            "Productive and looping requests. Looping ones occupy the GPU and produce nothing"
            " useful.",
            {"{{state}}": f"sum by (state) (mistral_requests_in_flight{{{CHOSEN}}})"},
        ),
        Panel(
            "Autoscaling",
            "Productive requests in flight, the number of replicas that the operator decided, and"
            " whether loops keep it from adding replicas. See docs/autoscaling.md.",
            {
                f"{_WHO} load": f"mistral_operator_autoscaling_load{{{CHOSEN}}}",
                f"{_WHO} replicas": f"mistral_operator_autoscaling_desired_replicas{{{CHOSEN}}}",
                f"{_WHO} frozen": f"mistral_operator_autoscaling_frozen{{{CHOSEN}}}",
            },
        ),
    ),
    "Latency": (
        Panel(
            "Time to first token",
            "As measured by vLLM, from the arrival of a request: time in the queue counts.",
            _quantiles("vllm:time_to_first_token_seconds"),
            "s",
        ),
        Panel(
            "Time between tokens",
            "Time from one token of a response to the next.",
            _quantiles("vllm:inter_token_latency_seconds"),
            "s",
        ),
        Panel(
            "Duration of requests",
            "From the arrival of a request to its last token.",
            _quantiles("vllm:e2e_request_latency_seconds"),
            "s",
        ),
    ),
    "Errors": (
        Panel(
            "Failed responses, last 15 minutes",
            "Share of responses to requests for generated text with a 5xx status or that were cut"
            " off, with its 95 % interval. 4xx does not count. Consider the count in the next"
            " panel.",
            _interval("response_errors", "15m"),
            "percentunit",
        ),
        Panel(
            "Responses, last 15 minutes",
            "Number of responses behind the share of failed ones.",
            {
                _WHO: f"mistral:responses:increase15m{{{CHOSEN}}}",
                f"{_WHO} failed": f"mistral:response_errors:increase15m{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Generations by finish reason",
            "`repetition` is a stopped loop, `abort` a client that disconnected.",
            {"{{finish_reason}}": _rate("mistral_generations_total", "finish_reason")},
            "reqps",
        ),
        Panel(
            "The gate",
            "Requests that the gate changed or rejected by the resource's policy, and its errors.",
            {
                "changed: {{change}}": _rate("mistral_requests_changed_total", "change"),
                "refused: {{reason}}": _rate("mistral_requests_refused_total", "reason"),
                "error: {{where}}": _rate("mistral_gate_errors_total", "where"),
            },
            "reqps",
        ),
        Panel(
            "Restarts, last hour",
            "Restarts of servers in their pods.",
            {_WHO: f"sum {_BY} (changes(mistral_server_start_time_seconds{{{CHOSEN}}}[1h]))"},
        ),
    ),
    "Loops": (
        Panel(
            "Loop rate, last hour",
            "Share of checked generations that looped, with its 95 % interval. Consider the count"
            " in the next panel. The dashed lines show the model card's rates for reference.",
            _interval("generation_loops"),
            "percentunit",
            CARD_RATES,
        ),
        Panel(
            "Generations, last hour",
            "Number of generations behind the loop rate. It takes 3,900 to distinguish 2.11 % from"
            " 1.29 %.",
            {
                _WHO: f"mistral:generations:increase1h{{{CHOSEN}}}",
                f"{_WHO} looped": f"mistral:generation_loops:increase1h{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Wasted tokens, last hour",
            "Tokens that only repeated earlier text in a loop.",
            {_WHO: f"mistral:generation_loop_tokens:increase1h{{{CHOSEN}}}"},
        ),
    ),
    "Tool calls": (
        Panel(
            "Tool error rate, last hour",
            "Share of tool calls that the client cannot execute, with its 95 % interval. Consider"
            " the count in the next panel.",
            _interval("tool_call_errors"),
            "percentunit",
        ),
        Panel(
            "Tool calls, last hour",
            "Number of tool calls behind the error rate.",
            {
                _WHO: f"mistral:tool_calls:increase1h{{{CHOSEN}}}",
                f"{_WHO} errors": f"mistral:tool_call_errors:increase1h{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Tool calls by outcome",
            "Why tool calls cannot be executed. docs/gate.md explains each outcome.",
            {"{{outcome}}": _rate("mistral_tool_calls_total", "outcome")},
            "reqps",
        ),
    ),
    "Memory": (
        Panel(
            "KV cache",
            "KV cache usage of the fullest replica.",
            {_WHO: f"max {_BY} (vllm:kv_cache_usage_perc{{{CHOSEN}}})"},
            "percentunit",
        ),
        Panel(
            "Prefix cache",
            "Share of prompt tokens that were found in the prefix cache.",
            {
                _WHO: f"{_rate_of('vllm:prefix_cache_hits_total')}"
                f" / ({_rate_of('vllm:prefix_cache_queries_total')} > 0)"
            },
            "percentunit",
        ),
        Panel(
            "Preemptions",
            "Requests that vLLM evicted from a full KV cache and computes again.",
            {_WHO: _rate_of("vllm:num_preemptions_total")},
            "reqps",
        ),
        Panel(
            "Out-of-memory failures, last hour",
            "Memory failures by class. docs/memory.md explains each class and its remedies.",
            {f"{_WHO} {{{{class}}}}": f"mistral:oom_events:increase1h{{{CHOSEN}}}"},
        ),
    ),
    "GPUs": (
        Panel(
            "GPU utilization",
            "Of the GPUs of the endpoints' pods. Requires NVIDIA's DCGM exporter.",
            _of_gpus("DCGM_FI_DEV_GPU_UTIL"),
            "percent",
        ),
        Panel(
            "GPU memory",
            "Memory in use. vLLM reserves it at the start. Requires NVIDIA's DCGM exporter.",
            _of_gpus("DCGM_FI_DEV_FB_USED"),
            "decmbytes",
        ),
        Panel(
            "GPU temperature",
            "Hot GPUs lower their clock. Requires NVIDIA's DCGM exporter.",
            _of_gpus("DCGM_FI_DEV_GPU_TEMP"),
            "celsius",
        ),
    ),
    "Activator": (
        Panel(
            "Requests to the activator",
            "Requests to endpoints without a ready replica, by outcome. docs/monitoring.md explains"
            " each.",
            {"{{outcome}}": _rate("mistral_activator_requests_total", "outcome")},
            "reqps",
        ),
        Panel(
            "Queued requests",
            "Requests that wait for a ready replica.",
            {_WHO: f"sum {_BY} (mistral_activator_held_requests{{{CHOSEN}}})"},
        ),
        Panel(
            "Wait for a replica",
            "How long forwarded requests of all endpoints waited. Median and 95th percentile.",
            {
                f"p{percent}": f"histogram_quantile({percent / 100}, sum by (le)"
                " (rate(mistral_activator_wait_seconds_bucket[5m])))"
                for percent in (50, 95)
            },
            "s",
        ),
    ),
    "Rollouts and operator": (
        Panel(
            "Conditions",
            "Conditions that are True. `kubectl get msd -o wide` shows the reason.",
            {
                f"{_WHO} {{{{type}}}}": "max by (namespace, name, type)"
                f' (mistral_deployment_condition{{{CHOSEN}, status="True"}})'
                " or 0 * max by (namespace, name, type)"
                f" (mistral_deployment_condition{{{CHOSEN}}})"
            },
            kind="state-timeline",
            states={0: ("not True", "text"), 1: ("True", "green")},
        ),
        Panel(
            "Stages of the last starts",
            "Longest of the replicas. `starting` is mostly imports, `loading` the weights,"
            " `profiling` and `warming-up` also compile.",
            {
                f"{_WHO} {{{{stage}}}}": "max by (namespace, name, stage)"
                f" (mistral_engine_start_seconds{{{CHOSEN}}})"
            },
            "s",
        ),
        Panel(
            "Compiled code at the last starts",
            "Replicas that loaded the code which `spec.cache` keeps, compiled it, or could not keep"
            " it.",
            {
                f"{_WHO} {{{{result}}}}": "sum by (namespace, name, result)"
                f" (mistral_server_compile_cache{{{CHOSEN}}})"
            },
        ),
        Panel(
            "Reconciliations by outcome",
            "`retry` and `error` are requeued with increasing delay.",
            {"{{outcome}}": "sum by (outcome) (rate(mistral_operator_reconcile_total[5m]))"},
            "ops",
        ),
        Panel(
            "Duration of a reconciliation",
            "Median and 95th percentile.",
            {
                f"p{percent}": f"histogram_quantile({percent / 100}, sum by (le)"
                " (rate(mistral_operator_reconcile_seconds_bucket[5m])))"
                for percent in (50, 95)
            },
            "s",
        ),
        Panel(
            "Work queue",
            "Resources queued for reconciliation, resources that wait for a retry, and replicas"
            " that hold the Lease.",
            {
                "waiting": "sum(mistral_operator_queue_depth)",
                "retrying": "sum(mistral_operator_queue_retrying)",
                "leaders": "sum(mistral_operator_leader)",
            },
        ),
    ),
}

ANNOTATIONS = {
    "Rollouts and starts": (
        f'max {_BY} (mistral_deployment_condition{{{CHOSEN}, type="Progressing", status="True"}})',
        "blue",
    ),
    "Restarts": (
        f"sum {_BY} (changes(mistral_server_start_time_seconds{{{CHOSEN}}}[2m])) > 0",
        "red",
    ),
}
"""Expression and color of what all panels mark in time."""
