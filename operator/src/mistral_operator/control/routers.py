"""What the live children of a resource say of its router. Pure."""

from collections.abc import Mapping

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.kinds import DEPLOYMENT, SERVICE, Kind
from mistral_operator.render import RouterUse
from mistral_operator.watch.deployments import RouterFacts
from mistral_operator.watch.live_children import LiveChild

Children = Mapping[tuple[Kind, str], LiveChild]


def router_facts(resource: Resource, live: Children) -> RouterFacts | None:
    """Return the facts of the Deployment of a router, None without one that stays."""
    child = _deployment(resource, live)
    if child is None or child.terminating or child.deployment is None:
        return None
    facts = child.deployment
    return RouterFacts(facts.ready, facts.desired, facts.replica_failure)


def router_use(resource: Resource, live: Children) -> RouterUse:
    """Return what the pods of a router do now.

    Its Deployment is deleted in the foreground, so it is there as long as its pods.
    """
    facts = router_facts(resource, live)
    ready = facts is not None and facts.ready > 0
    return RouterUse(ready=ready, remains=_deployment(resource, live) is not None)


def without_serving_router(
    resource: Resource, live: dict[tuple[Kind, str], LiveChild]
) -> dict[tuple[Kind, str], LiveChild]:
    """Return the live children without the Deployment of a router that the Service leads to.

    It is not deleted before the Service leads to the replicas.
    """
    service = live.get((SERVICE, resource.name))
    if service is None or not _leads_to_router(resource, service):
        return live
    return {
        key: child
        for key, child in live.items()
        if key != (DEPLOYMENT, names.router(resource.name))
    }


def _leads_to_router(resource: Resource, service: LiveChild) -> bool:
    selector = service.object().get("spec", {}).get("selector")
    return bool(selector == names.router_selector(resource.name))


def _deployment(resource: Resource, live: Children) -> LiveChild | None:
    child = live.get((DEPLOYMENT, names.router(resource.name)))
    return child if child is not None and child.controller_uid == resource.uid else None
