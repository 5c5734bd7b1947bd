"""Every metric of the activator, in one place, with its help text."""

from collections.abc import Collection

from prometheus_client import Counter, Gauge, Histogram

from mistral_operator.kube.objects import Key

REQUESTS = Counter(
    "mistral_activator_requests",
    "Requests to endpoints without a ready replica, by outcome: forwarded, answered (by the"
    " activator itself), wrong_key (not one of the endpoint), unchecked_key (too many keys to"
    " check), over_budget (queue full), timed_out, left (client disconnected), misdirected (to"
    " a pod of another endpoint), failed.",
    ["namespace", "name", "outcome"],
)
OUTCOMES = (
    "forwarded",
    "answered",
    "wrong_key",
    "unchecked_key",
    "over_budget",
    "timed_out",
    "left",
    "misdirected",
    "failed",
)
HELD = Gauge(
    "mistral_activator_held_requests",
    "Queued requests that wait for a ready replica.",
    ["namespace", "name"],
)
WAIT_SECONDS = Histogram(
    "mistral_activator_wait_seconds",
    "Time that forwarded requests waited for a ready replica, in seconds.",
    buckets=(0.01, 0.1, 1, 5, 15, 30, 60, 120, 180, 300, 600, 1800, 3600),
)
CONNECTIONS_CLOSED = Counter(
    "mistral_activator_connections_over_limit",
    "Connections that arrived at the limit of their namespace. For each, the connection that waited"
    " longest for its client was closed, or the new one if there was none.",
)
IGNORED_SLICES = Gauge(
    "mistral_activator_ignored_slices",
    "EndpointSlices with addresses that no pod of an endpoint can have, by reason: address_type"
    " (FQDN), address (of another port, or local to a node or cloud).",
    ["reason"],
)
IGNORED_REASONS = ("address_type", "address")


def follow(before: Collection[Key], now: Collection[Key]) -> None:
    """Let endpoints that appear have every count at 0, and remove those of endpoints that are gone.

    A rate needs a zero before the first request: a series that begins at 40 shows no increase.

    Args:
        before: the endpoints so far.
        now: the endpoints from now on.
    """
    for key in now:
        if key not in before:
            for outcome in OUTCOMES:
                REQUESTS.labels(*key, outcome)
            HELD.labels(*key)
    for key in before:
        if key not in now:
            for outcome in OUTCOMES:
                REQUESTS.remove(*key, outcome)
            HELD.remove(*key)
