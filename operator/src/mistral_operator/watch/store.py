"""The store: one index for each watched kind.

The indexes hold only what decisions need, so that thousands of endpoints take tens of megabytes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Body, Key, key_of, labeled_owner
from mistral_operator.watch.deployments import DeploymentFacts
from mistral_operator.watch.facts import PodFacts, pod_facts
from mistral_operator.watch.index import BodyIndex, Index
from mistral_operator.watch.live_children import LiveChild, live_child
from mistral_operator.watch.nodes import NodeFacts, node_facts


class Store:
    """The indexes of all watched kinds."""

    def __init__(self, child_kinds: Iterable[kinds.Kind]) -> None:
        self.resources = BodyIndex(_without_server_metadata, key_of)
        self.pods: Index[PodFacts] = Index(pod_facts, labeled_owner, self._on_pod_deleted)
        self._deleted_pods: defaultdict[Key, list[PodFacts]] = defaultdict(list)
        self.nodes: Index[NodeFacts] = Index(node_facts, key_of)
        self.children: dict[kinds.Kind, Index[LiveChild]] = {
            kind: Index(_child_transform(kind), labeled_owner) for kind in child_kinds
        }

    def replicas(self, key: Key) -> tuple[PodFacts, ...]:
        """Return the pods of a resource's Deployment, in the order of their names."""
        return tuple(pod for pod in self.pods.owned(key) if not pod.prefetches)

    def prefetch_pods(self, key: Key) -> tuple[PodFacts, ...]:
        """Return the pods that fetch the model of a resource in advance."""
        return tuple(pod for pod in self.pods.owned(key) if pod.prefetches)

    def index(self, kind: kinds.Kind) -> Index[Any]:
        """Return the index of a kind."""
        if kind == kinds.RESOURCE:
            return self.resources
        if kind == kinds.POD:
            return self.pods
        return self.nodes if kind == kinds.NODE else self.children[kind]

    def deleted_pods(self, key: Key) -> list[PodFacts]:
        """Return deleted pods of a resource whose failures are not recorded yet."""
        return list(self._deleted_pods.get(key, ()))

    def forget_deleted_pods(self, key: Key, recorded: Iterable[PodFacts]) -> None:
        """Drop deleted pods whose failures are recorded in the status."""
        uids = {pod.uid for pod in recorded}
        kept = [pod for pod in self._deleted_pods.pop(key, ()) if pod.uid not in uids]
        if kept:
            self._deleted_pods[key] = kept

    def _on_pod_deleted(self, owner: Key, pod: PodFacts) -> None:
        failed = any(one.exit_code for each in pod.containers if each.ours for one in each.exits)
        if not pod.prefetches and (pod.evicted or failed):
            self._deleted_pods[owner].append(pod)

    def children_of(self, key: Key) -> dict[tuple[kinds.Kind, str], LiveChild]:
        """Return the live children of a resource by kind and name."""
        return {
            (kind, child.name): child
            for kind, index in self.children.items()
            for child in index.owned(key)
        }

    def job_of(self, key: Key) -> LiveChild | None:
        """Return the Job that fetches the model of a resource in advance."""
        return self.children[kinds.JOB].get(Key(key.namespace, names.prefetch(key.name)))

    def deployment_of(self, key: Key) -> DeploymentFacts | None:
        """Return the facts of a resource's Deployment."""
        child = self.children[kinds.DEPLOYMENT].get(key)
        return None if child is None else child.deployment


def _without_server_metadata(body: Body) -> Body:
    # Annotations have no bound of ours and are not read: kubectl keeps a copy of the spec there.
    dropped = {"managedFields", "resourceVersion", "annotations"}
    metadata = {key: value for key, value in body["metadata"].items() if key not in dropped}
    return {**body, "metadata": metadata}


def _child_transform(kind: kinds.Kind) -> Callable[[Body], LiveChild]:
    def transform(body: Body) -> LiveChild:
        return live_child(kind, body)

    return transform
