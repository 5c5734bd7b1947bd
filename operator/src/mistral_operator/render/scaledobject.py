"""The ScaledObject: what KEDA scales by, where KEDA is installed."""

from typing import Any

from mistral_operator.api import Autoscaling, Resource
from mistral_operator.api.autoscaling import Keda
from mistral_operator.api.pod import kubernetes_form
from mistral_operator.kube import names
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child


def is_scaled_by_keda(resource: Resource) -> bool:
    """Tell whether KEDA decides; not while the resource is suspended, since nothing is there."""
    autoscaling = resource.spec.autoscaling
    return autoscaling is not None and autoscaling.driver == "KEDA" and not resource.spec.suspend


def scaled_object(resource: Resource, context: RenderContext) -> KubernetesObject:
    """Return the ScaledObject of a resource that KEDA scales.

    It targets the resource, not its Deployment: KEDA writes the scale subresource, and the operator
    stays the only one that writes the Deployment's replicas.
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
            # Of the last step, to zero; the others are bound by the behavior below.
            "cooldownPeriod": autoscaling.behavior.scale_down.stabilization_window_seconds,
            "advanced": {
                "horizontalPodAutoscalerConfig": {"behavior": kubernetes_form(autoscaling.behavior)}
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
            # What is not known is an error, and an error scales nothing.
            "ignoreNullValues": "false",
        }
        return {"type": "prometheus", "metricType": "AverageValue", "metadata": metadata}
    path = names.load_path(resource.namespace, resource.name)
    metadata = {
        "url": f"{context.operator_url}{path}",
        # In replicas, so that the target is 1 whatever the engine's cache holds.
        "valueLocation": "replicas",
        "targetValue": "1",
    }
    return {"type": "metrics-api", "metricType": "AverageValue", "metadata": metadata}


def _query(resource: Resource) -> str:
    """Return running and waiting requests without those that loop."""
    who = f'namespace="{resource.namespace}",name="{resource.name}"'
    return (
        f"sum(vllm:num_requests_running{{{who}}}) + sum(vllm:num_requests_waiting{{{who}}})"
        f' - sum(mistral_requests_in_flight{{{who},state="looping"}})'
    )
