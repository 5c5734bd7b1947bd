"""The configuration of Envoy in the pods of a router. Pure.

One cluster has two priorities: the replicas, and the activators where no replica is healthy. It is
an argument of the container, in which the kubelet replaces `$(POD_IP)`.
"""

from mistral_operator.api import Resource
from mistral_operator.render.router.clusters import ADMIN, admin_cluster, replicas_cluster
from mistral_operator.render.router.listeners import health_listener, requests_listener
from mistral_operator.render.router.typed_config import TYPES, Object, filter_of

_CONNECTIONS = 10_000
"""Connections of clients to a pod: what they send may take twice `BUFFER` each for a moment."""


def bootstrap(resource: Resource) -> Object:
    """Return the configuration of Envoy."""
    drain = resource.spec.drain_seconds
    return {
        "admin": {"address": {"pipe": {"path": ADMIN}}},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {
            "listeners": [requests_listener(resource), health_listener(drain_delay(drain))],
            "clusters": [replicas_cluster(resource), admin_cluster()],
        },
    }


def drain_delay(drain_seconds: int) -> int:
    """Return how long a pod of the router drains: as long as a replica does at most."""
    return max(1, drain_seconds)


def _connection_limit() -> Object:
    kind = "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return filter_of(
        "envoy.resource_monitors.global_downstream_max_connections",
        f"{TYPES}.extensions.{kind}",
        max_active_downstream_connections=_CONNECTIONS,
    )
