"""The input of rendering beside the resource."""

from dataclasses import dataclass


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
    hub_endpoints: tuple[str, ...] = ()
    """Hubs that tokens may be sent to, besides the public one."""
    prometheus_urls: tuple[str, ...] = ()
    """Prometheus servers that KEDA may query."""
