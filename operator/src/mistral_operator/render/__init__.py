"""Renders a resource into its children, as plain objects. Pure: same input, same bytes.

One file per kind. `control/reconciler.py` applies the result of `children`, `mistral-operator
render` prints it, and the golden files in tests/golden keep it for review.
"""

from collections.abc import Sequence

from mistral_operator.api import Resource
from mistral_operator.prefetch import Prefetch
from mistral_operator.render.cache import cache_claim
from mistral_operator.render.context import IN_USE, NetworkDefaults, RenderContext, RouterUse
from mistral_operator.render.deployment import deployment
from mistral_operator.render.disruption import disruption_budget
from mistral_operator.render.endpointslice import activator_slice
from mistral_operator.render.metadata import KubernetesObject, with_applied_digest
from mistral_operator.render.monitor import pod_monitor
from mistral_operator.render.network import network_policy, prefetch_policy
from mistral_operator.render.prefetch import prefetch_job
from mistral_operator.render.prepull import prepull_children
from mistral_operator.render.router import router_children
from mistral_operator.render.router.deployment import router_deployment
from mistral_operator.render.scaledobject import is_scaled_by_keda, scaled_object
from mistral_operator.render.service import service
from mistral_operator.render.serviceaccount import service_account
from mistral_operator.scale_to_zero import ActivatorRoute
from mistral_operator.watch.facts import ClaimFacts

__all__ = ["KubernetesObject", "NetworkDefaults", "RenderContext", "RouterUse", "children"]


def children(
    resource: Resource,
    context: RenderContext,
    route: ActivatorRoute | None = None,
    claim: ClaimFacts | None = None,
    pulling: Sequence[str] = (),
    prefetch: Prefetch | None = None,
    router: RouterUse = IN_USE,
) -> tuple[KubernetesObject, ...]:
    """Return every child of a resource, in the order in which to apply them.

    Args:
        resource: the desired endpoint.
        context: facts of the installation.
        route: route to the activator, None if the endpoint cannot scale to zero.
        claim: the existing claim of the cache, None if there is none.
        pulling: nodes that pull images ahead of time.
        prefetch: whether the model is fetched in advance; None if that is not decided.
        router: what the pods of its router do now.
    """
    prefetch = prefetch or Prefetch()
    routed = resource.spec.routing.enabled
    has_router = routed or router.remains
    rendered = [service_account(resource)]
    if resource.spec.cache is not None:
        rendered.append(cache_claim(resource, resource.spec.cache, claim))
    if resource.spec.network_policy:
        rendered.append(network_policy(resource, context.network, has_router=has_router))
        if resource.spec.prefetches:
            rendered.append(prefetch_policy(resource, context.network))
    if prefetch.creates_job:
        rendered.append(prefetch_job(resource, context, prefetch.mark, prefetch.placement))
    if has_router:
        rendered += router_children(resource, context, route)
    if route is not None:
        rendered.append(activator_slice(resource, route))
    rendered += [
        *prepull_children(resource, context, pulling),
        service(resource, routed=routed and router.ready),
        disruption_budget(resource),
        deployment(resource, context, prefetch.recorded),
    ]
    if routed:
        rendered.append(router_deployment(resource, context))
    if context.pod_monitors:
        rendered.append(pod_monitor(resource, context))
    if context.scaled_objects and is_scaled_by_keda(resource):
        rendered.append(scaled_object(resource, context))
    return tuple(with_applied_digest(child) for child in rendered)
