"""The PodMonitor: what Prometheus scrapes, where the Prometheus operator is installed."""

from mistral_operator import names
from mistral_operator.api import Resource
from mistral_operator.render.metadata import KubernetesObject, child


def pod_monitor(resource: Resource) -> KubernetesObject:
    """Return the PodMonitor over vLLM's own metrics and the supervisor's."""
    return child(
        resource,
        "monitoring.coreos.com/v1",
        "PodMonitor",
        resource.name,
        spec={
            "selector": {"matchLabels": names.selector(resource.name)},
            "podTargetLabels": [names.LABEL_DEPLOYMENT],
            "podMetricsEndpoints": [
                {"port": names.PORT_HTTP, "path": "/metrics"},
                {"port": names.PORT_HEALTH, "path": "/metrics"},
            ],
        },
    )
