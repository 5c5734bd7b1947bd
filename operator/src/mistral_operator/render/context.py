"""What rendering needs beside the resource."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Facts of the installation that shape every child."""

    server_image: str
    """Image of the server where a resource names none."""
    pod_monitors: bool = False
    """The cluster knows PodMonitor, so each resource gets one."""
