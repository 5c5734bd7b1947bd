"""The input of rendering beside the resource."""

from dataclasses import dataclass, field

from mistral_operator.api.logs import Logs
from mistral_operator.api.network import Peer
from mistral_operator.api.pod import PodDefaults

DEFAULT_ROUTER_IMAGE = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
"""Envoy without a shell, of the version that the tests run."""


@dataclass(frozen=True, slots=True)
class NetworkDefaults:
    """What the installation says of the traffic of every endpoint."""

    operator_namespace: str = "mistral-system"
    """Namespace of operator and activator, which poll and forward to the pods."""
    monitoring_namespace: str = ""
    """Namespace of Prometheus. Empty: pods with Prometheus' usual label, in any namespace."""
    callers: tuple[Peer, ...] | None = None
    """Who may call endpoints that do not say so themselves. None: everyone."""
    destinations: tuple[Peer, ...] = ()
    """What every endpoint may connect to in addition."""


@dataclass(frozen=True, slots=True)
class RouterUse:
    """What the pods of a router do now."""

    ready: bool = True
    """One of them is ready: the Service of an endpoint with a routing policy leads to them."""
    remains: bool = False
    """Some may still have requests. What they need stays, also without a routing policy."""


IN_USE = RouterUse()


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Facts of the installation that affect every child."""

    server_image: str
    """Server image of resources that do not set one."""
    pod_monitors: bool = False
    """Whether the cluster has the kind PodMonitor; each resource then gets one."""
    scaled_objects: bool = False
    """Whether the cluster has the kind ScaledObject; resources with `driver: KEDA` then get one."""
    operator_url: str = "http://mistral-small-operator.mistral-system.svc:8080"
    """URL of the operator for KEDA."""
    network: NetworkDefaults = NetworkDefaults()
    """What the NetworkPolicies allow beside what the resource says."""
    hub_endpoints: tuple[str, ...] = ()
    """Hubs that tokens may be sent to, besides the public one."""
    prometheus_urls: tuple[str, ...] = ()
    """Prometheus servers that KEDA may query."""
    service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that pods may run as, besides that of their endpoint."""
    service_types: tuple[str, ...] = ()
    """Types that Services may have, besides ClusterIP."""
    variables: tuple[str, ...] = ()
    """Environment variables that resources may set, besides the usual ones."""
    pods: PodDefaults = field(default_factory=PodDefaults)
    """What the pods of every endpoint have, unless its resource says otherwise."""
    logs: Logs = field(default_factory=Logs)
    """What these pods log, likewise."""
    pod_monitor_labels: tuple[tuple[str, str], ...] = ()
    """Additional labels of PodMonitors."""
    router_image: str = DEFAULT_ROUTER_IMAGE
    """Image of the routers."""
