"""The ScaledObject, for clusters with KEDA."""

from typing import Any

from mistral_operator.api import Autoscaling, Resource
from mistral_operator.api.autoscaling import Keda
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.kube import names
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child


def is_scaled_by_keda(resource: Resource) -> bool:
    """Return whether KEDA scales the resource; not while it is suspended."""
    autoscaling = resource.spec.autoscaling
    return autoscaling is not None and autoscaling.driver == "KEDA" and not resource.spec.suspend


def scaled_object(resource: Resource, context: RenderContext) -> KubernetesObject:
    """Return the ScaledObject of a resource that KEDA scales.

    It targets the resource, not its Deployment: KEDA writes the scale subresource, and only the
    operator writes the replicas of the Deployment.
    """
    autoscaling = resource.spec.autoscaling
    if autoscaling is None:
        raise ValueError(f"{resource.name} has no autoscaling")
    keda = autoscaling.keda or Keda()
    return child(
        resource,
        "keda.sh/v1alpha1",
        "ScaledObject",
        resource.name,
        spec={
            "scaleTargetRef": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": resource.name,
            },
            "pollingInterval": keda.polling_seconds,
            "minReplicaCount": autoscaling.min_replicas,
            "maxReplicaCount": autoscaling.max_replicas,
            # Applies to the last step, to zero; the behavior below limits the others.
            "cooldownPeriod": autoscaling.behavior.scale_down.stabilization_window_seconds,
            "advanced": {
                "horizontalPodAutoscalerConfig": {"behavior": to_kubernetes(autoscaling.behavior)}
            },
            "triggers": [_trigger(resource, autoscaling, keda, context)],
        },
    )


def _trigger(
    resource: Resource, autoscaling: Autoscaling, keda: Keda, context: RenderContext
) -> dict[str, Any]:
    if keda.prometheus is not None:
        metadata = {
            "serverAddress": keda.prometheus,
            "query": _query(resource),
            "threshold": str(autoscaling.target_in_flight),
            # An unknown load is an error, and KEDA does not scale on errors.
            "ignoreNullValues": "false",
        }
        return {"type": "prometheus", "metricType": "AverageValue", "metadata": metadata}
    path = names.load_path(resource.namespace, resource.name)
    metadata = {
        "url": f"{context.operator_url}{path}",
        # In replicas, so the target is 1 for any size of the KV cache.
        "valueLocation": "replicas",
        "targetValue": "1",
    }
    return {"type": "metrics-api", "metricType": "AverageValue", "metadata": metadata}


def _query(resource: Resource) -> str:
    """Return running and waiting requests without those that loop."""
    labels = f'namespace="{resource.namespace}",name="{resource.name}"'
    return (
        f"sum(vllm:num_requests_running{{{labels}}}) + sum(vllm:num_requests_waiting{{{labels}}})"
        f' - sum(mistral_requests_in_flight{{{labels},state="looping"}})'
    )
