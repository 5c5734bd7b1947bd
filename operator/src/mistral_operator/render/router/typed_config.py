"""Parts of Envoy's configuration that have the same form everywhere. Pure."""

from typing import Any

Object = dict[str, Any]

TYPES = "type.googleapis.com/envoy"
HTTP = f"{TYPES}.extensions.filters.http"


def typed(kind: str, **fields: Any) -> Object:
    """Return a message of a kind."""
    return {"@type": kind, **fields}


def filter_of(name: str, kind: str, **fields: Any) -> Object:
    """Return an extension by its name and the kind of its message."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def socket(address: str, port: int) -> Object:
    """Return a TCP address."""
    return {"socket_address": {"address": address, "port_value": port}}


def router_filter() -> Object:
    """Return the filter that sends requests to their cluster."""
    return filter_of(
        "envoy.filters.http.router", f"{HTTP}.router.v3.Router", suppress_envoy_headers=True
    )


def manager_of(fields: Object) -> Object:
    """Return the filter of a listener that speaks HTTP."""
    kind = "filters.network.http_connection_manager"
    return {
        "name": f"envoy.{kind}",
        "typed_config": typed(f"{TYPES}.extensions.{kind}.v3.HttpConnectionManager", **fields),
    }
