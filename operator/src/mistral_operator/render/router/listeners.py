"""What the router listens on: requests of clients, and those of kubelet and Prometheus. Pure."""

from mistral_operator.api import Resource
from mistral_operator.api.routing import Routing
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.router.clusters import BUFFER
from mistral_operator.render.router.conversation import HEADER, LUA, SESSION_HEADER
from mistral_operator.render.router.typed_config import (
    HTTP,
    TYPES,
    Object,
    filter_of,
    manager_of,
    router_filter,
    socket,
    typed,
)
from mistral_server.contract import ENDPOINT_HEADER, endpoint_text

POD_IP = "POD_IP"
"""Variable with the address of the pod, which is IPv4 or IPv6."""
READY_PATH, DRAIN_PATH, METRICS_PATH = "/ready", "/drain", "/metrics"

_LOCALHOST = "127.0.0.1"
"""Where `kubectl port-forward` connects to."""
_RETRIES = 3
_LOOKS = 20
"""Places of the ring at which a repeated request looks for another replica."""


def requests_listener(resource: Resource) -> Object:
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
        "http_filters": [*_conversation(resource.spec.routing), router_filter()],
    }
    addresses = [socket(f"$({POD_IP})", HTTP_PORT), socket(_LOCALHOST, HTTP_PORT)]
    return {
        "name": "requests",
        "traffic_direction": "INBOUND",
        "address": addresses[0],
        "additional_addresses": [{"address": one} for one in addresses[1:]],
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [{"filters": [manager_of(manager)]}],
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
                    "typed_config": typed(
                        f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
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
        filter_of(
            "envoy.filters.http.lua",
            f"{HTTP}.lua.v3.Lua",
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


def health_listener(delay: int) -> Object:
    """Return the listener of the kubelet and Prometheus.

    `/drain` is the preStop hook: it has Envoy close each connection with its next response, and
    responds when the time for that is over.
    """
    filters = [
        filter_of("envoy.filters.http.lua", f"{HTTP}.lua.v3.Lua"),
        filter_of("envoy.filters.http.fault", f"{HTTP}.fault.v3.HTTPFault"),
        router_filter(),
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
                "envoy.filters.http.lua": typed(
                    f"{HTTP}.lua.v3.LuaPerRoute", source_code={"inline_string": _DRAIN}
                ),
                "envoy.filters.http.fault": typed(
                    f"{HTTP}.fault.v3.HTTPFault",
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
        "address": socket(f"$({POD_IP})", HEALTH_PORT),
        "filter_chains": [{"filters": [manager_of(manager)]}],
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
