"""What rendering needs beside the resource."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Facts of the installation that shape every child."""

    server_image: str
    """Image of the server where a resource names none."""
    pod_monitors: bool = False
    """The cluster knows PodMonitor, so each resource gets one."""
    scaled_objects: bool = False
    """The cluster knows KEDA's ScaledObject, so resources with `driver: KEDA` get one."""
    operator_url: str = "http://mistral-small-operator.mistral-system.svc:8080"
    """Where KEDA reaches the operator."""
