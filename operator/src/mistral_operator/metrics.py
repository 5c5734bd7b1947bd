"""Metrics of the operator with their help texts."""

from prometheus_client import Counter, Gauge, Histogram

API_REQUESTS = Counter(
    "mistral_operator_api_requests",
    "Requests to the API server by method and HTTP status.",
    ["method", "status"],
)
WRITES = Counter(
    "mistral_operator_writes",
    "Writes to the cluster by kind and verb. A steady fleet causes none.",
    ["kind", "verb"],
)
ISOLATED_FAILURES = Counter(
    "mistral_operator_isolated_failures",
    "Objects that a part of the operator could not handle; the others were handled.",
    ["part"],
)
RECONCILES = Counter(
    "mistral_operator_reconcile",
    "Reconciliations by outcome: settled, soon (requeued shortly), retry or error.",
    ["outcome"],
)
RECONCILE_SECONDS = Histogram(
    "mistral_operator_reconcile_seconds",
    "Duration of one reconciliation.",
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
QUEUE_DEPTH = Gauge("mistral_operator_queue_depth", "Resources queued for reconciliation.")
QUEUE_RETRYING = Gauge(
    "mistral_operator_queue_retrying",
    "Resources that wait for a retry or for the end of a burst of events.",
)
LEADER = Gauge("mistral_operator_leader", "1 while this replica holds the Lease.")
API_SERVER_REACHABLE = Gauge(
    "mistral_operator_api_server_reachable",
    "1 while the API server answers requests of this process.",
)
RESYNC_SECONDS = Gauge(
    "mistral_operator_last_resync_timestamp_seconds",
    "Unix time of the last completed resync with the API server.",
)
