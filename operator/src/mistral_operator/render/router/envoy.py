"""The configuration of Envoy in the pods of a router. Pure.

One cluster has two priorities: the replicas, and the activators where no replica is healthy. It is
an argument of the container, in which the kubelet replaces `$(POD_IP)`.
"""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.routing import Routing
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.router.conversation import HEADER, LUA, MAX_BODY, SESSION_HEADER
from mistral_server.contract import ENDPOINT_HEADER, endpoint_text

Object = dict[str, Any]

POD_IP = "POD_IP"
"""Variable with the address of the pod, which is IPv4 or IPv6."""
READY_PATH, DRAIN_PATH, METRICS_PATH = "/ready", "/drain", "/metrics"

_LOCALHOST = "127.0.0.1"
"""Where `kubectl port-forward` connects to."""
_ADMIN = "@envoy-admin"
"""Abstract socket of Envoy's administration, which only this pod can reach."""

_CHECK = "1s"
_FAILED_CHECKS = 3
"""A pod that was told to stop fails its checks at once and accepts requests for 5 more seconds."""
_BALANCE = 125
"""Percent of the average number of requests at which a replica passes further ones on."""
_CONNECTIONS = 10_000
"""Connections of clients to a pod: what they send may take twice `_BUFFER` each for a moment."""
_MANY = 1_000_000
"""Envoy's own limits would reject requests that vLLM can queue."""
_IDLE = "3s"
"""Shorter than vLLM keeps idle connections, 5 s: it must not end one that gets a request."""
_BUFFER = 2 * MAX_BODY
_RETRIES = 3
_LOOKS = 20
"""Places of the ring at which a repeated request looks for another replica."""

_TYPES = "type.googleapis.com/envoy"
_HTTP = f"{_TYPES}.extensions.filters.http"
_POLICIES = f"{_TYPES}.extensions.load_balancing_policies"


def bootstrap(resource: Resource) -> Object:
    """Return the configuration of Envoy."""
    drain = resource.spec.drain_seconds
    return {
        "admin": {"address": {"pipe": {"path": _ADMIN}}},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {
            "listeners": [_requests(resource), _health(drain_delay(drain))],
            "clusters": [_replicas(resource), _admin_cluster()],
        },
    }


def drain_delay(drain_seconds: int) -> int:
    """Return how long a pod of the router drains: as long as a replica does at most."""
    return max(1, drain_seconds)


def _requests(resource: Resource) -> Object:
    """Return the listener of clients."""
    manager: Object = {
        "stat_prefix": "requests",
        # The address of the client is appended to X-Forwarded-For.
        "use_remote_address": True,
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        # A long prompt has no output for minutes.
        "stream_idle_timeout": "0s",
        "local_reply_config": {"body_format": _error_format()},
        "route_config": {"name": "requests", "virtual_hosts": [_virtual_host(resource)]},
        "http_filters": [*_conversation(resource.spec.routing), _router_filter()],
    }
    addresses = [_socket(f"$({POD_IP})", HTTP_PORT), _socket(_LOCALHOST, HTTP_PORT)]
    return {
        "name": "requests",
        "traffic_direction": "INBOUND",
        "address": addresses[0],
        "additional_addresses": [{"address": one} for one in addresses[1:]],
        "per_connection_buffer_limit_bytes": _BUFFER,
        "filter_chains": [{"filters": [_manager(manager)]}],
    }


def _virtual_host(resource: Resource) -> Object:
    endpoint = endpoint_text(resource.namespace, resource.name)
    route: Object = {
        "cluster": "replicas",
        "timeout": "0s",
        "retry_policy": {
            # Only where no byte of the request was sent.
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": _RETRIES,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": _typed(
                        f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    ),
                }
            ],
            "host_selection_retry_max_attempts": _LOOKS,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
        },
    }
    hashes = _hashes(resource.spec.routing)
    if hashes:
        route["hash_policy"] = hashes
    return {
        "name": "requests",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": route}],
        # A client must not set the priority of its own requests.
        "request_headers_to_remove": ["x-vllm-priority"],
        "request_headers_to_add": [
            {
                "header": {"key": ENDPOINT_HEADER, "value": endpoint},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _hashes(routing: Routing) -> list[Object]:
    """Return the headers that choose a replica; the first one that a request has decides."""
    session = {"header": {"header_name": SESSION_HEADER}, "terminal": True}
    conversation = {"header": {"header_name": HEADER}}
    by_policy: dict[str, list[Object]] = {
        "Session": [session],
        "Prefix": [session, conversation],
    }
    return by_policy.get(routing.policy, [])


def _conversation(routing: Routing) -> list[Object]:
    """Return the filter that tells which conversation a chat belongs to."""
    if routing.policy != "Prefix":
        return []
    return [
        _filter(
            "envoy.filters.http.lua",
            f"{_HTTP}.lua.v3.Lua",
            default_source_code={"inline_string": LUA},
        )
    ]


def _error_format() -> Object:
    """Return the body of Envoy's own responses, as OpenAI's clients expect it."""
    error = {
        "message": "%LOCAL_REPLY_BODY%",
        "type": "server_error",
        "param": None,
        "code": "router_error",
    }
    return {"json_format": {"error": error}}


def _health(delay: int) -> Object:
    """Return the listener of the kubelet and Prometheus.

    `/drain` is the preStop hook: it has Envoy close each connection with its next response, and
    responds when the time for that is over.
    """
    filters = [
        _filter("envoy.filters.http.lua", f"{_HTTP}.lua.v3.Lua"),
        _filter("envoy.filters.http.fault", f"{_HTTP}.fault.v3.HTTPFault"),
        _router_filter(),
    ]
    routes = [
        {"match": {"path": READY_PATH}, "route": {"cluster": "admin"}},
        {
            "match": {"path": METRICS_PATH},
            "route": {"cluster": "admin", "prefix_rewrite": "/stats/prometheus"},
        },
        {
            "match": {"path": DRAIN_PATH},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {
                "envoy.filters.http.lua": _typed(
                    f"{_HTTP}.lua.v3.LuaPerRoute", source_code={"inline_string": _DRAIN}
                ),
                "envoy.filters.http.fault": _typed(
                    f"{_HTTP}.fault.v3.HTTPFault",
                    delay={"fixed_delay": f"{delay}s", "percentage": {"numerator": 100}},
                ),
            },
        },
    ]
    manager: Object = {
        "stat_prefix": "health",
        "stream_idle_timeout": "0s",
        "route_config": {
            "name": "health",
            "virtual_hosts": [{"name": "health", "domains": ["*"], "routes": routes}],
        },
        "http_filters": filters,
    }
    return {
        "name": "health",
        "ignore_global_conn_limit": True,
        "address": _socket(f"$({POD_IP})", HEALTH_PORT),
        "filter_chains": [{"filters": [_manager(manager)]}],
    }


_DRAIN = """\
function envoy_on_request(request)
  local headers = {
    [":method"] = "POST",
    [":path"] = "/drain_listeners?inboundonly&graceful&skip_exit",
    [":authority"] = "admin",
  }
  request:httpCall("admin", headers, "", 5000)
end
"""


def _replicas(resource: Resource) -> Object:
    """Return the cluster with the replicas and, behind them, the activators."""
    name = resource.name
    replicas = {
        "address": _socket(names.replicas_service(name), HTTP_PORT),
        "health_check_config": {"port_value": HEALTH_PORT},
    }
    activators = {
        "address": _socket(names.activator_service(name), HTTP_PORT),
        "health_check_config": {"disable_active_health_check": True},
    }
    return {
        "name": "replicas",
        "cluster_type": _filter(
            "envoy.cluster.dns",
            f"{_TYPES}.extensions.clusters.dns.v3.DnsCluster",
            dns_lookup_family="V4_PREFERRED",
            dns_refresh_rate="5s",
            dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "5s"},
        ),
        "connect_timeout": "2s",
        # Its address can belong to a pod of another endpoint by then.
        "ignore_health_on_host_removal": True,
        "per_connection_buffer_limit_bytes": _BUFFER,
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
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": _IDLE},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }


def _balancing(resource: Resource) -> Object:
    if resource.spec.routing.policy == "LeastRequest":
        return {
            "name": "least-request",
            "typed_config": _typed(
                f"{_POLICIES}.least_request.v3.LeastRequest", selection_method="FULL_SCAN"
            ),
        }
    return {
        "name": "ring",
        "typed_config": _typed(
            f"{_POLICIES}.ring_hash.v3.RingHash",
            consistent_hashing_lb_config={"hash_balance_factor": _BALANCE},
        ),
    }


def _connection_limit() -> Object:
    kind = "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return _filter(
        "envoy.resource_monitors.global_downstream_max_connections",
        f"{_TYPES}.extensions.{kind}",
        max_active_downstream_connections=_CONNECTIONS,
    )


def _admin_cluster() -> Object:
    endpoint = {"address": {"pipe": {"path": _ADMIN}}}
    return {
        "name": "admin",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }


def _socket(address: str, port: int) -> Object:
    return {"socket_address": {"address": address, "port_value": port}}


def _typed(kind: str, **fields: Any) -> Object:
    return {"@type": kind, **fields}


def _filter(name: str, kind: str, **fields: Any) -> Object:
    return {"name": name, "typed_config": _typed(kind, **fields)}


def _router_filter() -> Object:
    return _filter(
        "envoy.filters.http.router", f"{_HTTP}.router.v3.Router", suppress_envoy_headers=True
    )


def _manager(fields: Object) -> Object:
    kind = "filters.network.http_connection_manager"
    return {
        "name": f"envoy.{kind}",
        "typed_config": _typed(f"{_TYPES}.extensions.{kind}.v3.HttpConnectionManager", **fields),
    }
