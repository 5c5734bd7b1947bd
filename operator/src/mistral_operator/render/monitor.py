"""The PodMonitor: what Prometheus scrapes, where the Prometheus operator is installed."""

import re
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child

_SAMPLE_LIMIT = 20_000
_LABEL_LIMIT = 64
"""A scrape beyond these fails. vLLM has some 2,000 series; an image of a tenant may have any."""


def pod_monitor(resource: Resource, context: RenderContext) -> KubernetesObject:
    """Return the PodMonitor for the metrics of vLLM and of the supervisor."""
    return child(
        resource,
        "monitoring.coreos.com/v1",
        "PodMonitor",
        resource.name,
        labels=dict(context.pod_monitor_labels),
        spec={
            "selector": {"matchLabels": names.selector(resource.name)},
            "sampleLimit": _SAMPLE_LIMIT,
            "labelLimit": _LABEL_LIMIT,
            "podMetricsEndpoints": [_endpoint(names.PORT_HTTP), _endpoint(names.PORT_HEALTH)],
        },
    )


def _endpoint(port: str) -> dict[str, Any]:
    """Return a port to scrape; each series gets the label `name`, as in the operator's metrics."""
    label = re.sub(r"[^a-zA-Z0-9]", "_", names.LABEL_DEPLOYMENT)
    source = f"__meta_kubernetes_pod_label_{label}"
    name = {"sourceLabels": [source], "targetLabel": "name"}
    return {"port": port, "path": "/metrics", "relabelings": [name]}
