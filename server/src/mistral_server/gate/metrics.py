"""What the gate counts. vLLM serves it in its own ``/metrics``, summed over its API processes.

Created at import, in prometheus_client's default registry: that is how vLLM finds it. No label
holds anything that a caller or the model wrote.
"""

from prometheus_client import Counter, Gauge

from mistral_server.gate.tool_calls import Outcome, RequestOutcome

FINISH_REASONS = ("stop", "length", "tool_calls", "repetition", "abort", "other")
"""`repetition` is a loop that was stopped, `abort` a client that left."""

GENERATIONS = Counter(
    "mistral_generations", "Generations that ended, by how they ended.", ["finish_reason"]
)
LOOPS = Counter(
    "mistral_generation_loops",
    "Generations that looped: exact ones, and those that count while they repeat.",
    ["kind", "action"],
)
LOOP_TOKENS = Counter(
    "mistral_generation_loop_tokens", "Tokens that only repeated, in a loop, what had been said."
)
TOOL_CALLS = Counter(
    "mistral_tool_calls",
    "Tool calls, by whether the caller can execute them, and why not.",
    ["outcome", "stream"],
)
TOOL_REQUESTS = Counter(
    "mistral_tool_requests",
    "Requests that offered tools, by the worst of their calls.",
    ["outcome"],
)
IN_FLIGHT = Gauge(
    "mistral_requests_in_flight",
    "Generating requests under way; looping ones produce nothing that anybody wants.",
    ["state"],
    multiprocess_mode="livesum",
)
CHANGES = Counter("mistral_requests_changed", "Requests that the gate changed, by how.", ["change"])
REFUSALS = Counter("mistral_requests_refused", "Requests that the gate refused.", ["reason"])
ERRORS = Counter(
    "mistral_gate_errors",
    "Errors of the gate itself; what it could not read passed untouched.",
    ["where"],
)

WORKAROUNDS = Gauge(
    "mistral_engine_workarounds",
    "API processes by workaround for a defect of the engine, and whether it is active in them.",
    ["name", "active"],
    multiprocess_mode="livesum",
)

CHANGE_NAMES = (
    *("developer_role", "loop_stop", "max_tokens", "strict_tools", "system_prompt", "tool_ids"),
    *("finish_reason", "stream_ended"),
)
REFUSAL_REASONS = ("api_key", "body_too_large", "path")
ERROR_PLACES = ("request", "answer", "stream")

# A rate needs a zero before the first event.
for _reason in FINISH_REASONS:
    GENERATIONS.labels(_reason)
for _kind, _action in (("exact", "observed"), ("exact", "stopped"), ("counter", "observed")):
    LOOPS.labels(_kind, _action)
for _outcome in Outcome:
    TOOL_CALLS.labels(_outcome.value, "true")
    TOOL_CALLS.labels(_outcome.value, "false")
for _request_outcome in RequestOutcome:
    TOOL_REQUESTS.labels(_request_outcome.value)
for _state in ("productive", "looping"):
    IN_FLIGHT.labels(_state)
for _change in CHANGE_NAMES:
    CHANGES.labels(_change)
for _reason in REFUSAL_REASONS:
    REFUSALS.labels(_reason)
for _place in ERROR_PLACES:
    ERRORS.labels(_place)
