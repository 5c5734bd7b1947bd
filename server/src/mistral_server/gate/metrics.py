"""The gate's metrics. vLLM serves them in its own ``/metrics``, summed over its API processes.

They are created at import in prometheus_client's default registry, which vLLM exposes. No label
contains text of a client or the model.
"""

from prometheus_client import Counter, Gauge

from mistral_server.gate.tool_calls import RequestOutcome, ToolCallOutcome

FINISH_REASONS = ("stop", "length", "tool_calls", "repetition", "abort", "other")
"""`repetition` is a stopped loop, `abort` a client that disconnected."""

GENERATIONS = Counter(
    "mistral_generations", "Finished generations by finish reason.", ["finish_reason"]
)
UNCHECKED = Counter(
    "mistral_generations_unchecked",
    "Finished generations that could not be checked for loops: the client or the resource turned it"
    " off, or the client disconnected before the gate had read anything.",
)
LOOPS = Counter(
    "mistral_generation_loops",
    "Generations that looped: exact, or counter (repeated except for changing numbers).",
    ["kind", "action"],
)
LOOP_TOKENS = Counter(
    "mistral_generation_loop_tokens", "Tokens that only repeated earlier text in a loop."
)
TOOL_CALLS = Counter(
    "mistral_tool_calls",
    "Tool calls by outcome: ok, or why the client cannot execute them.",
    ["outcome", "stream"],
)
TOOL_REQUESTS = Counter(
    "mistral_tool_requests",
    "Requests with tools by the worst outcome of their tool calls.",
    ["outcome"],
)
IN_FLIGHT = Gauge(
    "mistral_requests_in_flight",
    "Requests in flight that generate text, by state: productive or looping.",
    ["state"],
    multiprocess_mode="livesum",
)
CHANGES = Counter(
    "mistral_requests_changed",
    "Requests and responses that the gate changed, by change.",
    ["change"],
)
REFUSALS = Counter(
    "mistral_requests_refused", "Requests that the gate rejected, by reason.", ["reason"]
)
DELAYED = Counter(
    "mistral_refusals_delayed",
    "Responses to rejected requests that were delayed, so that they do not slow down the others.",
)
ERRORS = Counter(
    "mistral_gate_errors",
    "Errors of the gate. A response that it cannot read passes unchanged.",
    ["where"],
)

RESPONSES = Counter(
    "mistral_responses",
    "Responses by kind of request, generation or other, and by class of their status: 2xx to 5xx,"
    " cut (the server failed after it had begun), or disconnected (the client left before).",
    ["kind", "status"],
)

WORKAROUNDS = Gauge(
    "mistral_engine_workarounds",
    "API processes by workaround for a defect of the engine and whether it is active.",
    ["name", "active"],
    multiprocess_mode="livesum",
)

CHANGE_NAMES = (
    *("developer_role", "loop_stop", "max_tokens", "strict_tools", "system_prompt", "tool_ids"),
    *("finish_reason", "reasoning_effort", "repetition_detection", "stream_ended"),
)
REFUSAL_REASONS = (
    *("api_key", "body_too_large", "endpoint", "path"),
    *("content_encoding", "content_length", "content_type"),
    *("invalid_request", "not_json", "out_of_range"),
    *("body_seconds", "head_seconds", "header_bytes", "received_bytes"),
    *("choices", "generations", "logprobs", "prompts", "stop_strings"),
    *("brackets", "content_parts", "messages", "text_bytes", "tools"),
    *("guided_choices", "repetitions", "schema_bytes", "string_length"),
    *("image_format", "image_pixels", "image_url", "total_image_pixels"),
    *("speculation", "system_prompt"),
)
"""Those of limits have the names of their settings."""

RESPONSE_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "cut", "disconnected")
"""An item for each first digit of a status, and two more."""

RESPONSE_KINDS = ("generation", "other")
"""`generation` is a POST to an open path that may generate text, whether or not it has a key."""

ERROR_STAGES = ("request", "answer", "stream", "system_prompt")

# A rate needs a zero before the first event.
for _reason in FINISH_REASONS:
    GENERATIONS.labels(_reason)
for _kind, _action in (("exact", "observed"), ("exact", "stopped"), ("counter", "observed")):
    LOOPS.labels(_kind, _action)
for _outcome in ToolCallOutcome:
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
for _stage in ERROR_STAGES:
    ERRORS.labels(_stage)
for _status in RESPONSE_STATUSES:
    for _kind in RESPONSE_KINDS:
        RESPONSES.labels(_kind, _status)
