"""The panels of the Grafana dashboard, from top to bottom.

First whether it is up, then what an incident asks in this order: load, latency, errors. Rates come
from the recording rules in the chart's rules/mistral.yaml, so that the dashboard shows what the
alerts compare.
"""

from __future__ import annotations

from mistral_dev.dashboard_panel import (
    BAD,
    BY,
    CHOSEN,
    GOOD,
    NEUTRAL,
    NOTICE,
    OTHER,
    WARNING,
    WHO,
    Panel,
    of_gpus,
    quantiles,
    rate,
    rate_of,
    share,
)
from mistral_dev.dashboard_states import ENDPOINTS, STARTS, STATES_AND_CONDITIONS

CARD_RATES = {"model card, 3.1": 0.0211, "model card, 3.2": 0.0129}
"""Rates of endless generations in the model card. Its prompts and rule are not published, so these
are reference lines, and never a goal or an alert."""


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Is it up": (
        ENDPOINTS,
        Panel(
            "Firing alerts",
            "Of all endpoints and of the operator. docs/monitoring.md has a section for each.",
            {
                "{{severity}}: {{alertname}}": "count by (severity, alertname)"
                ' (ALERTS{alertname=~"Mistral.+", alertstate="firing"})'
            },
            kind="stat",
            colors={"^critical:": BAD, "^warning:": WARNING, "^info:": OTHER},
        ),
        Panel(
            "Replicas",
            "Desired replicas as dashed lines, and ready ones.",
            {
                f"{WHO} {{{{state}}}}": "max by (namespace, name, state)"
                f' (mistral_deployment_replicas{{{CHOSEN}, state!="existing"}})'
            },
            dashed=("desired$",),
            counts=True,
        ),
    ),
    "Load": (
        Panel(
            "Responses by status",
            "Of requests for generated text, and of others, without probes that succeed. `cut`: the"
            " server failed after the response had begun. `disconnected`: the client left before.",
            {"{{kind}} {{status}}": rate("mistral_responses_total", "kind, status")},
            "reqps",
            colors={
                "[13]xx$": NEUTRAL,
                "2xx$": GOOD,
                "4xx$": NOTICE,
                "5xx$": BAD,
                "cut$": WARNING,
                "disconnected$": OTHER,
            },
        ),
        Panel(
            "Tokens per second",
            "Tokens of prompts and of responses.",
            {
                f"{WHO} in": rate_of("vllm:prompt_tokens_total"),
                f"{WHO} out": rate_of("vllm:generation_tokens_total"),
            },
        ),
        Panel(
            "Queue",
            "Running and waiting requests in vLLM.",
            {
                f"{WHO} running": f"sum {BY} (vllm:num_requests_running{{{CHOSEN}}})",
                f"{WHO} waiting": f"sum {BY} (vllm:num_requests_waiting{{{CHOSEN}}})",
            },
            counts=True,
        ),
        Panel(
            "Requests in flight",
            "Productive and looping requests. Looping ones occupy the GPU and produce nothing"
            " useful.",
            {"{{state}}": f"sum by (state) (mistral_requests_in_flight{{{CHOSEN}}})"},
            colors={"^productive$": GOOD, "^looping$": WARNING},
            counts=True,
            width=12,
        ),
        Panel(
            "Autoscaling",
            "Productive requests in flight, the number of replicas that the operator decided, and"
            " whether loops keep it from adding replicas. See docs/autoscaling.md.",
            {
                f"{WHO} load": f"mistral_operator_autoscaling_load{{{CHOSEN}}}",
                f"{WHO} replicas": f"mistral_operator_autoscaling_desired_replicas{{{CHOSEN}}}",
                f"{WHO} frozen": f"mistral_operator_autoscaling_frozen{{{CHOSEN}}}",
            },
            counts=True,
            width=12,
        ),
    ),
    "Latency": (
        Panel(
            "Time to first token",
            "As measured by vLLM, from the arrival of a request: time in the queue counts.",
            quantiles("vllm:time_to_first_token_seconds"),
            "s",
        ),
        Panel(
            "Time between tokens",
            "Time from one token of a response to the next.",
            quantiles("vllm:inter_token_latency_seconds"),
            "s",
        ),
        Panel(
            "Duration of requests",
            "From the arrival of a request to its last token.",
            quantiles("vllm:e2e_request_latency_seconds"),
            "s",
        ),
    ),
    "Errors": (
        share(
            "Failed responses, last 15 minutes",
            "Share of responses to requests for generated text with a 5xx status or that were cut"
            " off, with its 95 % interval. 4xx does not count. Consider the count in the next"
            " panel.",
            "response_errors",
            "15m",
        ),
        Panel(
            "Responses, last 15 minutes",
            "Number of responses behind the share of failed ones.",
            {
                WHO: f"mistral:responses:increase15m{{{CHOSEN}}}",
                f"{WHO} failed": f"mistral:response_errors:increase15m{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Generations by finish reason",
            "`repetition` is a stopped loop, `abort` a client that disconnected.",
            {"{{finish_reason}}": rate("mistral_generations_total", "finish_reason")},
            "reqps",
            colors={
                "^stop$": GOOD,
                "^tool_calls$": "purple",
                "^length$": NOTICE,
                "^repetition$": WARNING,
                "^abort$": OTHER,
            },
        ),
        Panel(
            "The gate",
            "Requests that the gate changed or rejected by the resource's policy, and its errors.",
            {
                "changed: {{change}}": rate("mistral_requests_changed_total", "change"),
                "refused: {{reason}}": rate("mistral_requests_refused_total", "reason"),
                "error: {{where}}": rate("mistral_gate_errors_total", "where"),
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Restarts, last hour",
            "Restarts of servers in their pods.",
            {WHO: f"sum {BY} (changes(mistral_server_start_time_seconds{{{CHOSEN}}}[1h]))"},
            counts=True,
            width=12,
        ),
    ),
    "Loops": (
        share(
            "Loop rate, last hour",
            "Share of checked generations that looped, with its 95 % interval. Consider the count"
            " in the next panel. The dashed lines show the model card's rates for reference.",
            "generation_loops",
            "1h",
            CARD_RATES,
        ),
        Panel(
            "Generations, last hour",
            "Number of generations behind the loop rate. It takes 3,900 to distinguish 2.11 % from"
            " 1.29 %.",
            {
                WHO: f"mistral:generations:increase1h{{{CHOSEN}}}",
                f"{WHO} looped": f"mistral:generation_loops:increase1h{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Wasted tokens, last hour",
            "Tokens that only repeated earlier text in a loop.",
            {WHO: f"mistral:generation_loop_tokens:increase1h{{{CHOSEN}}}"},
        ),
    ),
    "Tool calls": (
        share(
            "Tool error rate, last hour",
            "Share of tool calls that the client cannot execute, with its 95 % interval. Consider"
            " the count in the next panel.",
            "tool_call_errors",
            "1h",
        ),
        Panel(
            "Tool calls, last hour",
            "Number of tool calls behind the error rate.",
            {
                WHO: f"mistral:tool_calls:increase1h{{{CHOSEN}}}",
                f"{WHO} errors": f"mistral:tool_call_errors:increase1h{{{CHOSEN}}}",
            },
        ),
        Panel(
            "Tool calls by outcome",
            "Why tool calls cannot be executed. docs/gate.md explains each outcome.",
            {"{{outcome}}": rate("mistral_tool_calls_total", "outcome")},
            "reqps",
            colors={"^ok$": GOOD},
        ),
    ),
    "Memory": (
        Panel(
            "KV cache",
            "KV cache usage of the fullest replica.",
            {WHO: f"max {BY} (vllm:kv_cache_usage_perc{{{CHOSEN}}})"},
            "percentunit",
            width=6,
        ),
        Panel(
            "Prefix cache",
            "Share of prompt tokens that were found in the prefix cache.",
            {
                WHO: f"{rate_of('vllm:prefix_cache_hits_total')}"
                f" / ({rate_of('vllm:prefix_cache_queries_total')} > 0)"
            },
            "percentunit",
            width=6,
        ),
        Panel(
            "Preemptions",
            "Requests that vLLM evicted from a full KV cache and computes again.",
            {WHO: rate_of("vllm:num_preemptions_total")},
            "reqps",
            width=6,
        ),
        Panel(
            "Out-of-memory failures, last hour",
            "Memory failures by class. docs/memory.md explains each class and its remedies.",
            {f"{WHO} {{{{class}}}}": f"mistral:oom_events:increase1h{{{CHOSEN}}} > 0"},
            width=6,
        ),
    ),
    "GPUs": (
        Panel(
            "GPU utilization",
            "Of the GPUs of the endpoints' pods. Requires NVIDIA's DCGM exporter.",
            of_gpus("DCGM_FI_DEV_GPU_UTIL"),
            "percent",
        ),
        Panel(
            "GPU memory",
            "Memory in use. vLLM reserves it at the start. Requires NVIDIA's DCGM exporter.",
            of_gpus("DCGM_FI_DEV_FB_USED"),
            "decmbytes",
        ),
        Panel(
            "GPU temperature",
            "Hot GPUs lower their clock. Requires NVIDIA's DCGM exporter.",
            of_gpus("DCGM_FI_DEV_GPU_TEMP"),
            "celsius",
        ),
    ),
    "Activator": (
        Panel(
            "Requests to the activator",
            "Requests to endpoints without a ready replica, by outcome. docs/monitoring.md explains"
            " each.",
            {"{{outcome}}": rate("mistral_activator_requests_total", "outcome")},
            "reqps",
        ),
        Panel(
            "Queued requests",
            "Requests that wait for a ready replica.",
            {WHO: f"sum {BY} (mistral_activator_held_requests{{{CHOSEN}}})"},
            counts=True,
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
        STATES_AND_CONDITIONS,
        *STARTS,
        Panel(
            "Reconciliations by outcome",
            "`retry` and `error` are requeued with increasing delay.",
            {"{{outcome}}": "sum by (outcome) (rate(mistral_operator_reconcile_total[5m]))"},
            "ops",
            colors={"^settled$": GOOD, "^soon$": OTHER, "^retry$": WARNING, "^error$": BAD},
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
            colors={"^leaders$": GOOD, "^waiting$": OTHER, "^retrying$": WARNING},
            counts=True,
        ),
    ),
}

ANNOTATIONS = {
    "Rollouts and starts": (
        f'max {BY} (mistral_deployment_condition{{{CHOSEN}, type="Progressing", status="True"}})',
        "blue",
    ),
    "Restarts": (
        f"sum {BY} (changes(mistral_server_start_time_seconds{{{CHOSEN}}}[2m])) > 0",
        "red",
    ),
}
"""Expression and color of what all panels mark in time."""
