"""What the watches saw: one shelf a kind, repaired by periodic lists.

Kopf's own index keeps an object for ever whose deletion fell into a broken watch, and starts in
quadratic time; so the operator keeps its own. Values are distilled to what decisions need, which
keeps a fleet of thousands in tens of megabytes.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Body, Key, key_of, labelled_owner
from mistral_operator.watch.facts import (
    DeploymentFacts,
    NodeFacts,
    PodFacts,
    deployment_facts,
    node_facts,
    pod_facts,
)

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class LiveChild:
    """A child as the cluster holds it, without status and bookkeeping."""

    kind: kinds.Kind
    name: str
    uid: str
    controller_uid: str | None
    """Uid of the resource that controls it."""
    digest: str | None
    """Digest of what we applied last, from the annotation; None on an object that is not ours."""
    terminating: bool
    fingerprint: str
    """Hash of the content."""
    content: bytes = field(repr=False, compare=False)
    """The content as JSON: a tenth of the memory of the object."""
    deployment: DeploymentFacts | None = None

    def object(self) -> dict[str, Any]:
        """Return the content as an object."""
        decoded: dict[str, Any] = json.loads(self.content)
        return decoded


@dataclass(slots=True)
class _Entry(Generic[V]):
    uid: str
    version: int
    owner: Key
    value: V


class Shelf(Generic[V]):
    """All objects of one kind that belong to resources.

    Args:
        distill: makes the kept value of a body.
        owner: returns the resource that a body belongs to, or None to ignore the body.
        lost: is told of what is dropped for good, with the resource that it belonged to.
    """

    def __init__(
        self,
        distill: Callable[[Body], V],
        owner: Callable[[Body], Key | None],
        lost: Callable[[Key, V], None] | None = None,
    ) -> None:
        self._distill = distill
        self._owner = owner
        self._lost = lost
        self._entries: dict[Key, _Entry[V]] = {}
        self._owned: defaultdict[Key, set[Key]] = defaultdict(set)
        self._gone: dict[Key, int] = {}

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._entries)

    def get(self, key: Key) -> V | None:
        """Return one object by namespace and name."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def owned(self, owner: Key) -> Iterator[V]:
        """Return the objects of one resource, in a stable order."""
        for key in sorted(self._owned.get(owner, ())):
            yield self._entries[key].value

    def values(self) -> Iterator[V]:
        """Return all objects."""
        return (entry.value for entry in self._entries.values())

    def put(self, body: Body) -> Key | None:
        """Keep an object; return the resource to look at, or None if nothing that matters changed.

        What is older than what is known is ignored: our own writes are put here before the watch
        tells of them.
        """
        key, version, owner = key_of(body), version_of(body), self._owner(body)
        known = self._entries.get(key)
        newest = self._gone.get(key, -1) if known is None else known.version
        if version <= newest:
            return None
        if owner is None:
            return None if known is None else self._bury(key, version)
        value = self._distill(body)
        if known is not None:
            self._drop(key)
        self._entries[key] = _Entry(body["metadata"]["uid"], version, owner, value)
        self._owned[owner].add(key)
        if known is not None and known.owner != owner:
            # Somebody changed the label. Whoever lost the object misses it and takes it back.
            return known.owner
        return None if known is not None and known.value == value else owner

    def remove(self, body: Body) -> Key | None:
        """Forget an object; return the resource to look at, or None if it was not known."""
        key = key_of(body)
        known = self._entries.get(key)
        if known is None:
            # The answer to our own write may still be on its way, older than this.
            self._gone[key] = version_of(body)
            return None
        if known.uid != body["metadata"]["uid"]:
            return None
        # The last version may say more than the one before it: how the containers ended.
        known.value = self._distill(body)
        return self._bury(key, version_of(body))

    def version(self, key: Key) -> int:
        """Return the resource version of what is known of an object, -1 if nothing is."""
        entry = self._entries.get(key)
        return self._gone.get(key, -1) if entry is None else entry.version

    def is_behind(self, body: Body) -> bool:
        """Tell whether an object is newer than what is known of it; its metadata is enough."""
        key = key_of(body)
        if key not in self._entries and self._owner(body) is None:
            return False
        return version_of(body) > self.version(key)

    def drop_unseen(self, seen: set[Key], as_of: int) -> set[Key]:
        """Forget what a full list did not hold; return the resources to look at.

        Args:
            seen: every object of the list.
            as_of: resource version of the list; objects that are newer than it stay.
        """
        changed = {
            self._lose(key)
            for key, entry in list(self._entries.items())
            if key not in seen and entry.version <= as_of
        }
        self._gone = {key: version for key, version in self._gone.items() if version > as_of}
        return changed

    def forget(self, key: Key, uid: str) -> None:
        """Drop an object that the API server has no more, unless another one has its name."""
        known = self._entries.get(key)
        if known is not None and known.uid == uid:
            self._bury(key, known.version)

    def _bury(self, key: Key, version: int) -> Key:
        """Drop an object and ignore what was said of it before `version`."""
        self._gone[key] = version
        return self._lose(key)

    def _lose(self, key: Key) -> Key:
        value = self._entries[key].value
        owner = self._drop(key)
        if self._lost is not None:
            self._lost(owner, value)
        return owner

    def _drop(self, key: Key) -> Key:
        owner = self._entries.pop(key).owner
        self._owned[owner].discard(key)
        if not self._owned[owner]:
            del self._owned[owner]
        return owner


class Store:
    """Everything that the operator knows of the cluster."""

    def __init__(self, child_kinds: Iterable[kinds.Kind]) -> None:
        self.resources: Shelf[Body] = Shelf(_without_bookkeeping, key_of)
        self.pods: Shelf[PodFacts] = Shelf(pod_facts, labelled_owner, self._bid_farewell)
        self._departed: defaultdict[Key, list[PodFacts]] = defaultdict(list)
        self.nodes: Shelf[NodeFacts] = Shelf(node_facts, key_of)
        self.children: dict[kinds.Kind, Shelf[LiveChild]] = {
            kind: Shelf(_child_distiller(kind), labelled_owner) for kind in child_kinds
        }

    def shelf(self, kind: kinds.Kind) -> Shelf[Any]:
        """Return the shelf of a kind."""
        if kind == kinds.RESOURCE:
            return self.resources
        if kind == kinds.POD:
            return self.pods
        return self.nodes if kind == kinds.NODE else self.children[kind]

    def departed(self, key: Key) -> list[PodFacts]:
        """Return the pods of a resource that ended badly and went away, until they are settled."""
        return list(self._departed.get(key, ()))

    def settle_departed(self, key: Key, settled: Iterable[PodFacts]) -> None:
        """Forget departed pods whose ends are written down."""
        done = {pod.uid for pod in settled}
        kept = [pod for pod in self._departed.pop(key, ()) if pod.uid not in done]
        if kept:
            self._departed[key] = kept

    def _bid_farewell(self, owner: Key, pod: PodFacts) -> None:
        if pod.evicted or any(end.exit_code for one in pod.containers for end in one.ends):
            self._departed[owner].append(pod)

    def children_of(self, key: Key) -> dict[tuple[kinds.Kind, str], LiveChild]:
        """Return the live children of a resource by kind and name."""
        return {
            (kind, child.name): child
            for kind, shelf in self.children.items()
            for child in shelf.owned(key)
        }

    def deployment_of(self, key: Key) -> DeploymentFacts | None:
        """Return the facts of a resource's Deployment."""
        child = self.children[kinds.DEPLOYMENT].get(key)
        return None if child is None else child.deployment


def version_of(body: Body) -> int:
    """Return the resource version of an object as a number."""
    # Comparable as integers: promised by Kubernetes since 1.35, true of etcd always.
    return int(body["metadata"]["resourceVersion"])


def _without_bookkeeping(body: Body) -> Body:
    metadata = {
        key: value
        for key, value in body["metadata"].items()
        if key not in {"managedFields", "resourceVersion"}
    }
    return {**body, "metadata": metadata}


def _child_distiller(kind: kinds.Kind) -> Callable[[Body], LiveChild]:
    def distill(body: Body) -> LiveChild:
        return live_child(kind, body)

    return distill


_NOT_CONTENT = {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"}
_ROLLOUT_COUNTER = "deployment.kubernetes.io/revision"
"""Annotation that the Deployment controller writes on every rollout; nothing of ours."""


def live_child(kind: kinds.Kind, body: Body) -> LiveChild:
    """Return what is kept of a child's body."""
    metadata = body["metadata"]
    kept = {key: one for key, one in metadata.items() if key not in _NOT_CONTENT}
    if "annotations" in kept:
        kept["annotations"] = {
            key: one for key, one in kept["annotations"].items() if key != _ROLLOUT_COUNTER
        }
    content = {
        # Lists leave these two out of their items.
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": kept,
        **{key: one for key, one in body.items() if key not in {"metadata", "status"}},
    }
    encoded = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    controllers = [
        one["uid"] for one in metadata.get("ownerReferences", ()) if one.get("controller")
    ]
    return LiveChild(
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        controller_uid=controllers[0] if controllers else None,
        digest=metadata.get("annotations", {}).get(names.ANNOTATION_APPLIED),
        terminating="deletionTimestamp" in metadata,
        fingerprint=blake2b(encoded, digest_size=12).hexdigest(),
        content=encoded,
        deployment=deployment_facts(body) if kind == kinds.DEPLOYMENT else None,
    )
