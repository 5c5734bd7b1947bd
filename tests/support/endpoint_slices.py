"""EndpointSlices as Kubernetes and the operator make them, as the activator reads them."""

from typing import Any

from builders import NAME, NAMESPACE, next_version
from mistral_operator.kube import names
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import PortMapEntry, Terms

KEY = Key(NAMESPACE, NAME)
TERMS = Terms(model="small", max_wait_seconds=60, max_requests=2)


def slice_body(*addresses: str, port: int = 8000, ready: bool = True, **metadata: Any) -> Any:
    """Return a slice as Kubernetes makes it, with a Service's labels copied."""
    common = {
        "name": f"{NAME}-x7k2",
        "namespace": NAMESPACE,
        "uid": "uid-of-slice",
        "labels": names.labels(NAME) | {names.LABEL_SLICE_MANAGER: "endpointslice-controller"},
        **metadata,
    }
    return {
        "metadata": common | {"resourceVersion": next_version()},
        "addressType": "IPv6" if any(":" in one for one in addresses) else "IPv4",
        "endpoints": [{"addresses": [one], "conditions": {"ready": ready}} for one in addresses],
        "ports": [{"name": "http", "port": port}],
    }


def our_slice(*addresses: str, port: int = 20_000, **metadata: Any) -> Any:
    """Return a slice as the operator makes it."""
    metadata = {
        "name": names.activator_slice(NAME, ipv6=False),
        "uid": "uid-of-ours",
        "labels": names.labels(NAME) | {names.LABEL_SLICE_MANAGER: names.MANAGED_BY},
        **metadata,
    }
    return slice_body(*addresses, port=port, **metadata)


def mapped(key: Key = KEY, terms: Terms = TERMS) -> PortMapEntry:
    """Return an entry of the port map."""
    return PortMapEntry(namespace=key.namespace, name=key.name, terms=terms)
