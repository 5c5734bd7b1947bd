"""An index: the objects of one kind, filled by a watch and corrected by periodic lists.

Kopf's own index keeps an object forever if a broken watch missed its deletion, and starts in
quadratic time.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from mistral_operator.kube.objects import Body, Key, key_of

V = TypeVar("V")

TOMBSTONE_SECONDS = 300.0
"""How long deleted objects are remembered, at least. A watch that is late or silent reports older
versions of them, for up to 70 seconds; then it is started anew (`kube/transport.py`)."""


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


def version_of(body: Body) -> int:
    """Return the resource version of an object as a number."""
    # Comparable as integers: guaranteed since Kubernetes 1.35, and true of etcd before.
    return int(body["metadata"]["resourceVersion"])
