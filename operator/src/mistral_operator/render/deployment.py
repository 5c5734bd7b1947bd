"""The Deployment of an endpoint."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.context import RenderContext
from mistral_operator.render.metadata import KubernetesObject, child
from mistral_operator.render.pod import pod_template


def deployment(
    resource: Resource, context: RenderContext, prefetched: str = ""
) -> KubernetesObject:
    """Return the Deployment. Only the operator writes its replicas.

    Args:
        resource: its owner.
        context: facts of the installation.
        prefetched: which model is on which claim; empty if it was not fetched in advance.
    """
    spec = resource.spec
    return child(
        resource,
        "apps/v1",
        "Deployment",
        resource.name,
        annotations={names.ANNOTATION_PREFETCHED: prefetched} if prefetched else None,
        spec={
            "replicas": 0 if spec.suspend else spec.replicas,
            "revisionHistoryLimit": 3,
            # A slow start is not a failed rollout; the startup probe limits it.
            "progressDeadlineSeconds": spec.startup_seconds + 600,
            "selector": {"matchLabels": names.selector(resource.name)},
            **({"paused": True} if spec.rollout.paused else {}),
            "strategy": {
                "type": "RollingUpdate",
                # No surge by default: the new pod would wait forever for the GPUs of the old one.
                "rollingUpdate": {
                    "maxSurge": spec.rollout.max_surge,
                    "maxUnavailable": 1 - spec.rollout.max_surge,
                },
            },
            "template": pod_template(resource, context),
        },
    )
