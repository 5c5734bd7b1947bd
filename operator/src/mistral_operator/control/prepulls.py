"""Reads how far the nodes have pulled the images of an edit.

The pods that pull are not watched: there are none most of the time, and among the pods of an
endpoint each part of the operator would have to tell them from replicas.
"""

from mistral_operator.api import Resource
from mistral_operator.apply.plan import is_ours
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.events_about import events_about
from mistral_operator.control.prepull import PrepullInputs
from mistral_operator.kube.kinds import DAEMON_SET, POD
from mistral_operator.kube.objects import Key
from mistral_operator.kube.timestamps import parse_time
from mistral_operator.render.prepull import prepull_name, prepull_selector
from mistral_operator.watch.daemon_sets import DaemonSetFacts, PullFacts, pull_facts
from mistral_operator.watch.live_children import LiveChild
from mistral_operator.watch.pod_events import last_seen

_CREATION_SECONDS = 10.0
"""Time in which the controller creates the pods; the Events about it are read after that."""


async def observe_prepull(dependencies: Dependencies, resource: Resource) -> PrepullInputs | None:
    """Return what decides whether an edit waits for its images; None if no edit ever does.

    Raises:
        Unavailable: the API server cannot be reached.
    """
    if resource.spec.rollout.prepull == "Never":
        return None
    context, store = dependencies.context, dependencies.store
    nodes = tuple(store.nodes.values())
    key = Key(resource.namespace, prepull_name(resource, context))
    child = store.children[DAEMON_SET].get(key)
    if child is None or child.daemon_set is None or not is_ours(child, resource.uid):
        return PrepullInputs(context, nodes=nodes)
    facts, age = child.daemon_set, _age(child.daemon_set, dependencies.now())
    if facts.observed and facts.ready >= facts.nodes:
        return PrepullInputs(context, nodes=nodes, daemon_set=facts, age=age)
    pulls = await _pulls(dependencies, resource)
    late = age >= _CREATION_SECONDS and len(pulls) < facts.nodes
    rejection = await _rejection(dependencies, resource, child) if late else ""
    return PrepullInputs(
        context, nodes=nodes, daemon_set=facts, age=age, pulls=pulls, rejection=rejection
    )


def _age(facts: DaemonSetFacts, now: str) -> float:
    return (parse_time(now) - parse_time(facts.created or now)).total_seconds()


async def _pulls(dependencies: Dependencies, resource: Resource) -> tuple[PullFacts, ...]:
    """Return how far each node has pulled, by name."""
    labels = prepull_selector(resource, dependencies.context)
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    pages = dependencies.cluster.list_pages(POD, resource.namespace, selector)
    pods = [pod async for page, _ in pages for pod in page]
    facts = [pull_facts(pod) for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return tuple(sorted(facts, key=lambda one: one.node))


async def _rejection(dependencies: Dependencies, resource: Resource, child: LiveChild) -> str:
    """Return why the controller cannot create pods; a DaemonSet has no condition for it."""
    events = await events_about(dependencies.cluster, resource.namespace, child.uid)
    failures = [one for one in events if one.get("type") == "Warning"]
    newest = max(failures, key=last_seen, default=None)
    return "" if newest is None else str(newest.get("message", ""))
