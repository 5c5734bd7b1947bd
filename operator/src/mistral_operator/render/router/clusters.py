"""Where the router sends requests: replicas, activators, and Envoy's own administration. Pure."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.router.conversation import MAX_BODY
from mistral_operator.render.router.typed_config import TYPES, Object, filter_of, socket, typed

ADMIN = "@envoy-admin"
"""Abstract socket of Envoy's administration, which only this pod can reach."""
BUFFER = 2 * MAX_BODY

_POLICIES = f"{TYPES}.extensions.load_balancing_policies"
_CHECK = "1s"
_FAILED_CHECKS = 3
"""A pod that was told to stop fails its checks at once and accepts requests for 5 more seconds."""
_BALANCE = 125
"""Percent of the average number of requests at which a replica passes further ones on."""
_MANY = 1_000_000
"""Envoy's own limits would reject requests that vLLM can queue."""
_IDLE = "3s"
"""Shorter than vLLM keeps idle connections, 5 s: it must not end one that gets a request."""


def replicas_cluster(resource: Resource) -> Object:
    """Return the cluster with the replicas and, behind them, the activators."""
    name = resource.name
    replicas = {
        "address": socket(names.replicas_service(name), HTTP_PORT),
        "health_check_config": {"port_value": HEALTH_PORT},
    }
    activators = {
        "address": socket(names.activator_service(name), HTTP_PORT),
        "health_check_config": {"disable_active_health_check": True},
    }
    return {
        "name": "replicas",
        "cluster_type": filter_of(
            "envoy.cluster.dns",
            f"{TYPES}.extensions.clusters.dns.v3.DnsCluster",
            dns_lookup_family="V4_PREFERRED",
            dns_refresh_rate="5s",
            dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "5s"},
        ),
        "connect_timeout": "2s",
        # Its address can belong to a pod of another endpoint by then.
        "ignore_health_on_host_removal": True,
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {
            "cluster_name": "replicas",
            # Activators get requests only if no replica is healthy, however few are.
            "policy": {"overprovisioning_factor": 100_000},
            "endpoints": [
                {"priority": 0, "lb_endpoints": [{"endpoint": replicas}]},
                {"priority": 1, "lb_endpoints": [{"endpoint": activators}]},
            ],
        },
        "load_balancing_policy": {"policies": [{"typed_extension_config": _balancing(resource)}]},
        "common_lb_config": {
            # Without a healthy host, unhealthy ones get no requests.
            "healthy_panic_threshold": {"value": 0},
            # Envoy would apply the results of checks up to a second later.
            "update_merge_window": "0s",
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": _CHECK,
                "no_traffic_interval": _CHECK,
                "unhealthy_threshold": _FAILED_CHECKS,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/readyz"},
            }
        ],
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _MANY,
                    "max_pending_requests": _MANY,
                    "max_requests": _MANY,
                    "max_retries": _MANY,
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": _IDLE},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }


def _balancing(resource: Resource) -> Object:
    if resource.spec.routing.policy == "LeastRequest":
        return {
            "name": "least-request",
            "typed_config": typed(
                f"{_POLICIES}.least_request.v3.LeastRequest", selection_method="FULL_SCAN"
            ),
        }
    return {
        "name": "ring",
        "typed_config": typed(
            f"{_POLICIES}.ring_hash.v3.RingHash",
            consistent_hashing_lb_config={"hash_balance_factor": _BALANCE},
        ),
    }


def admin_cluster() -> Object:
    """Return the cluster of Envoy's administration."""
    endpoint = {"address": {"pipe": {"path": ADMIN}}}
    return {
        "name": "admin",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
