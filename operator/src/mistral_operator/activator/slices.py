"""What an EndpointSlice tells the activator. Pure: any tenant may have written it."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from mistral_operator.api.network import is_metadata_service
from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.signals.polling import url_host
from mistral_operator.watch.facts import ready_addresses

IsTarget = Callable[[str, int], bool]
"""Tells whether a replica may have an address and a port."""


def may_be_replica(address: str, port: int) -> bool:
    """Return whether an endpoint's pod may have an address and a port.

    The API server accepts any address in a slice, and the activator can reach more than the author
    of a slice: itself, other pods of its node, the metadata service of the cloud.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed.scope_id is not None:
        return False  # any text may follow the address as its zone
    return port == names.HTTP_PORT and not (
        parsed.is_loopback
        or parsed.is_link_local
        or parsed.is_multicast
        or parsed.is_unspecified
        or parsed.is_reserved
        or is_metadata_service(address)
    )


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """One EndpointSlice; of the operator's own, and of those that lead to routers, nothing."""

    targets: tuple[str, ...] = ()
    """Hosts and ports of ready replicas."""
    ignored: str = ""
    """Why addresses in it are ignored, as a label of a metric; empty if none is."""


def slice_facts(body: Body, is_target: IsTarget = may_be_replica) -> SliceFacts:
    """Return the facts of an EndpointSlice."""
    if body.get("addressType") not in {"IPv4", "IPv6"}:
        # A name would be resolved by the activator, to whatever it means there.
        return SliceFacts(ignored="address_type")
    labels = body["metadata"].get("labels") or {}
    ports = {one.get("name"): one.get("port") for one in body.get("ports") or ()}
    port = ports.get(names.PORT_HTTP)
    own = labels.get(names.LABEL_SLICE_MANAGER) == names.MANAGED_BY
    if own or labels.get(names.LABEL_COMPONENT) == names.ROUTER or not port:
        return SliceFacts()
    addresses = sorted(set(ready_addresses(body)))
    allowed = tuple(one for one in addresses if is_target(one, port))
    return SliceFacts(
        targets=tuple(f"{url_host(one)}:{port}" for one in allowed),
        ignored="" if len(allowed) == len(addresses) else "address",
    )
