"""Every metric of the activator, in one place, with its help text."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "mistral_activator_requests",
    "Requests to endpoints that may sleep, by outcome: forwarded, answered (by the activator"
    " itself), over_budget, timed_out, left (the client gave up), failed.",
    ["namespace", "name", "outcome"],
)
HELD = Gauge(
    "mistral_activator_held_requests",
    "Requests that wait for a replica to become ready.",
    ["namespace", "name"],
)
WAIT_SECONDS = Histogram(
    "mistral_activator_wait_seconds",
    "Time that forwarded requests waited for a replica to become ready.",
    buckets=(0.01, 0.1, 1, 5, 15, 30, 60, 120, 180, 300, 600, 1800, 3600),
)
