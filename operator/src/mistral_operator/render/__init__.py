"""From a resource to its children, as plain objects. Pure: same input, same bytes.

One file per kind. `control/reconciler.py` applies what `children` returns, `mistral-operator
render` prints it, and the golden files in tests/golden hold it for review.
"""

from mistral_operator.api import Resource
from mistral_operator.render.cache import cache_claim
from mistral_operator.render.context import RenderContext
from mistral_operator.render.deployment import deployment
from mistral_operator.render.disruption import disruption_budget
from mistral_operator.render.endpointslice import activator_slice
from mistral_operator.render.metadata import KubernetesObject, seal
from mistral_operator.render.monitor import pod_monitor
from mistral_operator.render.network import network_policy
from mistral_operator.render.scaledobject import is_scaled_by_keda, scaled_object
from mistral_operator.render.service import service
from mistral_operator.render.serviceaccount import service_account
from mistral_operator.scale_to_zero import Activation

__all__ = ["KubernetesObject", "RenderContext", "children"]


def children(
    resource: Resource, context: RenderContext, activation: Activation | None = None
) -> tuple[KubernetesObject, ...]:
    """Return every child of a resource, in the order in which they should be applied.

    Args:
        resource: what is asked for.
        context: facts of the installation.
        activation: where the activator stands in for it, None of an endpoint that never sleeps.
    """
    wanted = [service_account(resource)]
    if resource.spec.cache is not None:
        wanted.append(cache_claim(resource, resource.spec.cache))
    if resource.spec.network_policy:
        wanted.append(network_policy(resource))
    if activation is not None:
        wanted.append(activator_slice(resource, activation))
    wanted += [
        service(resource),
        disruption_budget(resource),
        deployment(resource, context),
    ]
    if context.pod_monitors:
        wanted.append(pod_monitor(resource))
    if context.scaled_objects and is_scaled_by_keda(resource):
        wanted.append(scaled_object(resource, context))
    return tuple(seal(child) for child in wanted)
