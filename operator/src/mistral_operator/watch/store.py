"""The store: one index per kind, filled by watches and corrected by periodic lists.

Kopf's own index keeps an object forever if a broken watch missed its deletion, and starts in
quadratic time. The indexes hold only what decisions need, so that thousands of endpoints take tens
of megabytes.
"""

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import msgspec

from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Body, Key, key_of, labeled_owner
from mistral_operator.watch.facts import (
    DeploymentFacts,
    PodFacts,
    deployment_facts,
    pod_facts,
)
from mistral_operator.watch.nodes import NodeFacts, node_facts

V = TypeVar("V")

_FASTEST = 1
"""Compression level that takes 30 microseconds for a Deployment."""

TOMBSTONE_SECONDS = 300.0
"""How long deleted objects are remembered, at least. A watch that is late or silent reports older
versions of them, for up to 70 seconds; then it is started anew (`kube/transport.py`)."""


@dataclass(frozen=True, slots=True)
class LiveChild:
    """A live child without status and server-managed metadata."""

    kind: kinds.Kind
    name: str
    uid: str
    controller_uid: str | None
    """Uid of its controller owner reference."""
    digest: str | None
    """Digest of the last applied version, from the annotation; None on a foreign object."""
    terminating: bool
    fingerprint: str
    """Hash of the content."""
    content: bytes = field(repr=False, compare=False)
    """The content as compressed JSON, which takes a twentieth of the memory of the object."""
    deployment: DeploymentFacts | None = None
    phase: str = ""
    """Of a PersistentVolumeClaim, which can lose its volume."""

    def object(self) -> dict[str, Any]:
        """Return the content as an object."""
        decoded: dict[str, Any] = msgspec.json.decode(zlib.decompress(self.content))
        return decoded


@dataclass(slots=True)
class _Entry:
    uid: str
    version: int
    owner: Key
    value: Any
    """The packed value."""


class Index(Generic[V]):
    """The objects of one kind by key and by owning resource.

    Args:
        transform: returns the stored value of a body.
        owner: returns the owning resource of a body, or None to ignore the body.
        on_delete: called with owner and value of each deleted object.
        clock: the time in seconds; it only goes forward.
    """

    def __init__(
        self,
        transform: Callable[[Body], V],
        owner: Callable[[Body], Key | None],
        on_delete: Callable[[Key, V], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transform = transform
        self._owner = owner
        self._on_delete = on_delete
        self._entries: dict[Key, _Entry] = {}
        self._owned: defaultdict[Key, set[Key]] = defaultdict(set)
        self._clock = clock
        self._tombstones: dict[Key, int] = {}
        self._older_tombstones: dict[Key, int] = {}
        self._next_turn = clock() + TOMBSTONE_SECONDS

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._entries)

    def _pack(self, value: V) -> Any:
        """Return a value as it is kept; equal values are equal when packed."""
        return value

    def _unpack(self, packed: Any) -> V:
        """Return a value that was packed."""
        unpacked: V = packed
        return unpacked

    def get(self, key: Key) -> V | None:
        """Return one object by namespace and name."""
        entry = self._entries.get(key)
        return None if entry is None else self._unpack(entry.value)

    def owned(self, owner: Key) -> Iterator[V]:
        """Return the objects of a resource, in the order of their names."""
        for key in sorted(self._owned.get(owner, ())):
            yield self._unpack(self._entries[key].value)

    def __iter__(self) -> Iterator[Key]:
        """Return the keys of all objects."""
        return iter(self._entries)

    def values(self) -> Iterator[V]:
        """Return all objects."""
        return (self._unpack(entry.value) for entry in self._entries.values())

    def put(self, body: Body) -> Key | None:
        """Store an object; return the resource to reconcile, or None if no stored value changed.

        Older versions are ignored: the operator stores the responses to its own writes before the
        watch reports them.
        """
        key, version, owner = key_of(body), version_of(body), self._owner(body)
        current = self._entries.get(key)
        newest = self._tombstone_of(key) if current is None else current.version
        if version <= newest:
            return None
        if owner is None:
            return None if current is None else self._tombstone(key, version)
        value = self._pack(self._transform(body))
        if current is not None:
            self._unlink(key)
        self._entries[key] = _Entry(body["metadata"]["uid"], version, owner, value)
        self._owned[owner].add(key)
        if current is not None and current.owner != owner:
            # The label was changed: the previous owner must restore it.
            return current.owner
        return None if current is not None and current.value == value else owner

    def remove(self, body: Body) -> Key | None:
        """Delete an object; return the resource to reconcile, or None if it was not stored."""
        key = key_of(body)
        current = self._entries.get(key)
        if current is None:
            # The response to an earlier write of the operator may still arrive.
            self._remember_deleted(key, version_of(body))
            return None
        if current.uid != body["metadata"]["uid"]:
            return None
        # Only the last version may contain the exits of the containers.
        current.value = self._pack(self._transform(body))
        return self._tombstone(key, version_of(body))

    def version(self, key: Key) -> int:
        """Return the stored resource version of an object, -1 if there is none."""
        entry = self._entries.get(key)
        return self._tombstone_of(key) if entry is None else entry.version

    def is_behind(self, body: Body) -> bool:
        """Return whether the stored version is older than an object; metadata is sufficient."""
        key = key_of(body)
        if key not in self._entries and self._owner(body) is None:
            return False
        return version_of(body) > self.version(key)

    def missing(self, listed: set[Key], as_of: int, namespace: str | None = None) -> list[Key]:
        """Return the stored objects that are missing from a full list.

        Args:
            listed: keys of the list.
            as_of: resource version of the list; newer objects are not missing.
            namespace: namespace of the list; all if None.
        """
        return [
            key
            for key, entry in self._entries.items()
            if key not in listed and entry.version <= as_of and namespace in {None, key.namespace}
        ]

    def delete_missing(
        self, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> set[Key]:
        """Delete objects missing from a full list; return the resources to reconcile.

        The arguments are those of `missing`.
        """
        return {self._tombstone(key, as_of) for key in self.missing(listed, as_of, namespace)}

    def forget(self, key: Key, uid: str) -> None:
        """Delete an object that the API server does not have, unless its name was reused."""
        current = self._entries.get(key)
        if current is not None and current.uid == uid:
            self._tombstone(key, current.version)

    def _tombstone(self, key: Key, version: int) -> Key:
        """Delete an object and ignore later events about versions up to `version`."""
        self._remember_deleted(key, version)
        return self._delete(key)

    def _remember_deleted(self, key: Key, version: int) -> None:
        now = self._clock()
        if now >= self._next_turn:
            self._older_tombstones, self._tombstones = self._tombstones, {}
            self._next_turn = now + TOMBSTONE_SECONDS
        self._tombstones[key] = max(version, self._tombstone_of(key))

    def _tombstone_of(self, key: Key) -> int:
        """Return the version up to which events of a deleted object are ignored; -1 for none."""
        return max(self._tombstones.get(key, -1), self._older_tombstones.get(key, -1))

    def _delete(self, key: Key) -> Key:
        value = self._entries[key].value
        owner = self._unlink(key)
        if self._on_delete is not None:
            self._on_delete(owner, self._unpack(value))
        return owner

    def _unlink(self, key: Key) -> Key:
        owner = self._entries.pop(key).owner
        self._owned[owner].discard(key)
        if not self._owned[owner]:
            del self._owned[owner]
        return owner


class BodyIndex(Index[Body]):
    """Whole objects, kept as JSON, which takes a third of the memory of an object.

    Each access returns a copy, which takes some ten microseconds.
    """

    def _pack(self, value: Body) -> bytes:
        return msgspec.json.encode(value, order="sorted")

    def _unpack(self, packed: bytes) -> Body:
        body: Body = msgspec.json.decode(packed)
        return body


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
        if pod.evicted or any(
            one.exit_code for each in pod.containers if each.ours for one in each.exits
        ):
            self._deleted_pods[owner].append(pod)

    def children_of(self, key: Key) -> dict[tuple[kinds.Kind, str], LiveChild]:
        """Return the live children of a resource by kind and name."""
        return {
            (kind, child.name): child
            for kind, index in self.children.items()
            for child in index.owned(key)
        }

    def deployment_of(self, key: Key) -> DeploymentFacts | None:
        """Return the facts of a resource's Deployment."""
        child = self.children[kinds.DEPLOYMENT].get(key)
        return None if child is None else child.deployment


def version_of(body: Body) -> int:
    """Return the resource version of an object as a number."""
    # Comparable as integers: guaranteed since Kubernetes 1.35, and true of etcd before.
    return int(body["metadata"]["resourceVersion"])


def _without_server_metadata(body: Body) -> Body:
    # Annotations have no bound of ours and are not read: kubectl keeps a copy of the spec there.
    dropped = {"managedFields", "resourceVersion", "annotations"}
    metadata = {key: value for key, value in body["metadata"].items() if key not in dropped}
    return {**body, "metadata": metadata}


def _child_transform(kind: kinds.Kind) -> Callable[[Body], LiveChild]:
    def transform(body: Body) -> LiveChild:
        return live_child(kind, body)

    return transform


_SERVER_METADATA = {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"}
_OWN_ANNOTATIONS = f"{names.GROUP}/"
"""Prefix of the annotations of the operator. Others are no drift, not even those that a resource
sets: the Deployment controller counts rollouts in one, load balancers of clouds write theirs, and
anyone may add 256 KB of them."""


def compared_metadata(metadata: Body) -> Body:
    """Return what of the metadata of an object is drift if it differs."""
    kept = {key: one for key, one in metadata.items() if key not in _SERVER_METADATA}
    if "annotations" in kept:
        kept["annotations"] = {
            key: one for key, one in kept["annotations"].items() if key.startswith(_OWN_ANNOTATIONS)
        }
    return kept


def live_child(kind: kinds.Kind, body: Body) -> LiveChild:
    """Return the stored value of a child."""
    metadata = body["metadata"]
    content = {
        # Items of lists lack these two.
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": compared_metadata(metadata),
        **{key: one for key, one in body.items() if key not in {"metadata", "status"}},
    }
    encoded = msgspec.json.encode(content, order="sorted")
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
        content=zlib.compress(encoded, _FASTEST),
        deployment=deployment_facts(body) if kind == kinds.DEPLOYMENT else None,
        phase=body.get("status", {}).get("phase", "") if kind == kinds.CLAIM else "",
    )
