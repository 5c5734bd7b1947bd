"""What the store and Events say of the Job that fetches a model in advance."""

from mistral_operator.api import Resource
from mistral_operator.apply.plan import is_ours
from mistral_operator.control.claims import cache_claim_facts
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.events_about import events_about
from mistral_operator.control.prefetch import PrefetchInputs
from mistral_operator.kube.objects import Key
from mistral_operator.watch.facts import Observed
from mistral_operator.watch.jobs import JobFacts
from mistral_operator.watch.pod_events import last_seen
from mistral_operator.watch.store import Store

AGAIN_SECONDS = 10.0
"""Time until the Events about a Job without a pod are read again, which are not watched."""

_REJECTED = "FailedCreate"
"""Reason of the Event of the Job controller when the API server rejects a pod."""


def prefetch_inputs(dependencies: Dependencies, resource: Resource) -> PrefetchInputs | None:
    """Return what decides whether the model is fetched in advance, None if it never is."""
    if not resource.spec.prefetches:
        return None
    store, key = dependencies.store, Key(resource.namespace, resource.name)
    return PrefetchInputs(
        dependencies.context,
        claim=cache_claim_facts(store, resource),
        job=prefetch_job_of(store, resource),
        deployment=store.deployment_of(key),
        replicas=store.replicas(key),
        prefetch_pods=store.prefetch_pods(key),
        nodes=tuple(store.nodes.values()),
    )


def prefetch_job_of(store: Store, resource: Resource) -> JobFacts | None:
    """Return the Job of a resource, None if there is none that belongs to it."""
    child = store.job_of(Key(resource.namespace, resource.name))
    return child.job if child is not None and is_ours(child, resource.uid) else None


async def rejected_pod(dependencies: Dependencies, key: Key, observed: Observed) -> str:
    """Return why the API server rejects the pod of the Job, empty if it is not known to.

    The status of a Job does not say it, so its Events are read until it has a pod.

    Raises:
        Unavailable: the API server cannot be reached.
    """
    if observed.prefetch_job is None or observed.prefetch_pods:
        return ""
    dependencies.requeue_after(key, AGAIN_SECONDS)
    uid = observed.prefetch_job.uid
    events = await events_about(dependencies.cluster, key.namespace, uid)
    rejections = [one for one in events if one.get("reason") == _REJECTED]
    newest = max(rejections, key=last_seen, default=None)
    return "" if newest is None else str(newest.get("message") or _REJECTED)
