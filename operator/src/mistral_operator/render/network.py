"""The NetworkPolicy: allowed ingress and egress of the pods."""

import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.network import METADATA_RANGES, Peer, by_nat64, is_part_of
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.context import NetworkDefaults
from mistral_operator.render.metadata import KubernetesObject, child

Object = dict[str, Any]

_CLOSED_IPV4 = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.192/32",
    "192.168.0.0/16",
)
_CLOSED = (*_CLOSED_IPV4, "fc00::/7", "fe80::/10", *map(by_nat64, _CLOSED_IPV4))
"""Metadata services and private networks: the URL of an image, or a redirect of a hub, must not
lead to services of the cluster and its surroundings."""

_DNS_PORTS = (53, 5353)
"""The second is that of OpenShift's DNS pods: its network plugin judges the port of the pod, not
that of the Service."""

_EVERYWHERE = ("0.0.0.0/0", "::/0")

_PORT = re.compile(r"https?://[^/]*:([0-9]{1,5})(?:/|$)")
"""The port in a URL of the hub."""

_PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
"""Label of Prometheus' pods in its operator and in its charts."""


def network_policy(
    resource: Resource, defaults: NetworkDefaults, *, has_router: bool = False
) -> KubernetesObject:
    """Return the NetworkPolicy.

    The ranks of a replica communicate through sockets without authentication. They listen on
    loopback; the policy closes whatever else the engine listens on.

    Args:
        resource: the endpoint.
        defaults: what the installation says.
        has_router: whether it has a router.
    """
    rules = ingress(resource.spec, defaults)
    if has_router:
        rules.append(_from_router(resource))
    return child(
        resource,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        resource.name,
        spec={
            "podSelector": {"matchLabels": names.selector(resource.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": rules,
            "egress": _egress(resource.spec, defaults, _remote_ports(resource.spec)),
        },
    )


def prefetch_policy(resource: Resource, defaults: NetworkDefaults) -> KubernetesObject:
    """Return the NetworkPolicy of the pod that fetches the model in advance.

    The operator polls its progress, and it connects to the hub alone.
    """
    operator = _namespace(defaults.operator_namespace)
    return child(
        resource,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        names.prefetch(resource.name),
        spec={
            "podSelector": {"matchLabels": names.prefetch_selector(resource.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": tcp(HEALTH_PORT), "from": [operator]}],
            "egress": _egress(resource.spec, defaults, _hub_ports(resource.spec)),
        },
    )


def _from_router(resource: Resource) -> Object:
    """Allow the router to forward requests, and to check which pods are ready."""
    router = {"podSelector": {"matchLabels": names.router_selector(resource.name)}}
    return {"ports": tcp(HTTP_PORT, HEALTH_PORT), "from": [router]}


def ingress(spec: Spec, defaults: NetworkDefaults) -> list[Object]:
    """Allow callers on the API's port; operator and Prometheus on both.

    The kubelet's probes come from the node, which policies never close.
    """
    internal = [
        _namespace(defaults.operator_namespace),
        _prometheus(defaults.monitoring_namespace),
    ]
    callers = defaults.callers if spec.network.callers is None else spec.network.callers
    if callers is None:
        return [{"ports": tcp(HTTP_PORT)}, {"ports": tcp(HEALTH_PORT), "from": internal}]
    rules: list[Object] = [{"ports": tcp(HTTP_PORT, HEALTH_PORT), "from": internal}]
    if callers:
        # Without peers a rule would allow everyone.
        rules.append({"ports": tcp(HTTP_PORT), "from": [to_kubernetes(one) for one in callers]})
    return rules


def _prometheus(namespace: str) -> Object:
    if namespace:
        return _namespace(namespace)
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": _PROMETHEUS}}


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: name}}}


def _egress(spec: Spec, defaults: NetworkDefaults, ports: set[int]) -> list[Object]:
    """Allow DNS, these ports of public hosts, and nothing that is not needed."""
    destinations = (*defaults.destinations, *spec.network.destinations)
    rules: list[Object] = []
    if ports or destinations:
        rules.append({"ports": dns()})
    if ports:
        everywhere = [_block(cidr, _CLOSED) for cidr in _EVERYWHERE]
        rules.append({"to": everywhere, "ports": tcp(*sorted(ports))})
    if destinations:
        rules.append({"to": [_destination(one) for one in destinations]})
    return rules


def _remote_ports(spec: Spec) -> set[int]:
    """Return the ports of the public hosts that the pods have a reason to connect to."""
    return _hub_ports(spec) | ({80, 443} if spec.images.domains else set())


def _hub_ports(spec: Spec) -> set[int]:
    """Return the ports of the hub, none if nothing is fetched."""
    if spec.model.source.is_mounted:
        return set()
    hub = spec.model.source.hub
    return {443} | ({_port_of(hub.endpoint)} if hub is not None and hub.endpoint else set())


def _port_of(url: str) -> int:
    """Return the port of a URL. One that is no port is left to the fetch, which reports it."""
    scheme_port = 80 if url.startswith("http:") else 443
    match = _PORT.match(url)
    port = int(match[1]) if match else 0
    return port if 1 <= port <= 65535 else scheme_port


def _destination(peer: Peer) -> Object:
    if peer.ip_block is None:
        return to_kubernetes(peer)
    return _block(peer.ip_block.cidr, (*METADATA_RANGES, *(peer.ip_block.except_ or ())))


def _block(cidr: str, closed: Iterable[str]) -> Object:
    """Return a range without the closed ranges within it."""
    excepted = [str(ip_network(one)) for one in closed if is_part_of(one, cidr)]
    return {"ipBlock": {"cidr": cidr, **({"except": excepted} if excepted else {})}}


def dns() -> list[Object]:
    """Return the ports of DNS."""
    return [
        {"port": port, "protocol": protocol} for port in _DNS_PORTS for protocol in ("UDP", "TCP")
    ]


def tcp(*ports: int) -> list[Object]:
    """Return ports of TCP."""
    return [{"port": port, "protocol": "TCP"} for port in ports]
