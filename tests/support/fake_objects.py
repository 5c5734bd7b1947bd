"""Objects of a fake API server: versions, generations, field owners, deletions, a watch feed.

Objects are never modified, so that events of the feed and responses may share them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from builders import Object
from fake_fields import DuplicateItems, FieldConflict, Manager, Owned, applied, shown, updated
from fake_validation import invalid, with_defaults
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key, key_of

Identity = tuple[Kind, Key]

EPOCH = "2026-03-01T12:00:00Z"


class ApiError(Exception):
    """An error response of the API server."""

    def __init__(
        self, status: int, reason: str, message: str, causes: tuple[Object, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.document: Object = {
            "kind": "Status",
            "status": "Failure",
            "code": status,
            "reason": reason,
            "message": message,
            "details": {"causes": list(causes)},
        }


@dataclass(frozen=True)
class WatchEvent:
    """One event of the feed."""

    kind: Kind
    body: Object
    action: str
    """ADDED, MODIFIED or DELETED."""


@dataclass
class FakeObjects:
    """The objects of a cluster.

    Args:
        clock: the time as it is written into objects.
    """

    clock: Callable[[], str] = lambda: EPOCH
    version: int = 100
    stored: dict[Identity, Owned] = field(default_factory=dict)
    feed: list[WatchEvent] = field(default_factory=list)
    listeners: list[Callable[[WatchEvent], None]] = field(default_factory=list)
    terminating_namespaces: set[str] = field(default_factory=set)
    uids: int = 0
    admission: Callable[[Kind, Object], Object] = lambda _, body: body
    """A webhook that changes what is written."""

    def get(self, kind: Kind, key: Key) -> Object:
        """Return an object as the API server returns it.

        Raises:
            ApiError: it does not exist.
        """
        return _sent(self._owned(kind, key), kind)

    def find(self, kind: Kind, key: Key) -> Object | None:
        """Return an object without its managers, None if there is none."""
        owned = self.stored.get((kind, key))
        return None if owned is None else owned.body

    def all(self, kind: Kind) -> Iterator[Object]:
        """Return every object of a kind, in the order of the API server."""
        for key in sorted(key for one, key in self.stored if one is kind or one == kind):
            yield self.stored[kind, key].body

    def apply(
        self, kind: Kind, key: Key, desired: Object, *, manager: str, force: bool, status: bool
    ) -> Object:
        """Server-side apply an object or its status; return the live object."""
        subresource = "status" if status else ""
        identity = {"apiVersion": desired["apiVersion"], "kind": desired["kind"]}
        if (identity["apiVersion"], identity["kind"]) != (kind.api_version, kind.kind):
            raise ApiError(400, "BadRequest", f"{identity} is not what is served here")
        live = self._owned(kind, key) if status else self.stored.get((kind, key))
        _check_version(kind, key.name, live, desired["metadata"].get("resourceVersion"))
        if not status:
            # For the status of a custom resource, the API server ignores the uid.
            _check_uid(kind, key.name, live, desired["metadata"].get("uid"))
        fields = _part(desired, status=status)
        try:
            made = applied(
                live or Owned({}), fields, Manager(manager, "Apply", subresource), force=force
            )
        except FieldConflict as conflict:
            raise _conflict_error(conflict, kind) from conflict
        except DuplicateItems as twice:
            what = f"{key.namespace}/{key.name}; {kind.api_version}, Kind={kind.kind}"
            message = f"failed to create typed patch object ({what}): {twice}"
            raise ApiError(500, "InternalError", message) from twice
        return self._write(kind, key, live, made)

    def update(
        self,
        kind: Kind,
        key: Key,
        change: Callable[[Object], Object],
        *,
        manager: str = "kubectl-edit",
        status: bool = False,
    ) -> Object:
        """Update an object without server-side apply; return the live object."""
        live = self._owned(kind, key)
        changed = change(live.body)
        part = "status" if status else ""
        if status:
            changed = {**live.body, "status": changed.get("status", {})}
        else:
            kept = {"status": live.body["status"]} if "status" in live.body else {}
            changed = {key: one for key, one in changed.items() if key != "status"} | kept
        return self._write(
            kind, key, live, updated(live, changed, Manager(manager, "Update", part))
        )

    def create(self, kind: Kind, body: Object, *, manager: str = "kubectl-create") -> Object:
        """Create an object.

        Raises:
            ApiError: the name exists.
        """
        key = key_of(body)
        if (kind, key) in self.stored:
            raise ApiError(409, "AlreadyExists", f'{kind.plural} "{key.name}" already exists')
        made = updated(Owned({}), body, Manager(manager, "Update"))
        return self._write(kind, key, None, made)

    def delete(
        self,
        kind: Kind,
        key: Key,
        uid: str | None = None,
        version: str | None = None,
        *,
        foreground: bool = False,
    ) -> None:
        """Delete an object, immediately or once its finalizers are removed.

        In the foreground, the controllers remove it when what it owns is gone.
        """
        live = self._owned(kind, key)
        metadata = live.body["metadata"]
        if uid is not None and uid != metadata["uid"]:
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.plural} "{key.name}": Precondition failed:'
                f" UID in precondition: {uid}, UID in object meta: {metadata['uid']}",
            )
        if version is not None and version != metadata["resourceVersion"]:
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.plural} "{key.name}": Precondition failed:'
                f" ResourceVersion in precondition: {version}",
            )
        if metadata.get("finalizers") or kind == kinds.POD or foreground:
            self.mark_deleted(kind, key, foreground=foreground)
        else:
            self.remove(kind, key)

    def mark_deleted(self, kind: Kind, key: Key, *, foreground: bool = False) -> None:
        """Let an object be on its way out."""
        live = self._owned(kind, key)
        if "deletionTimestamp" in live.body["metadata"]:
            return
        metadata = {**live.body["metadata"], "deletionTimestamp": self.clock()}
        if foreground:
            metadata["finalizers"] = ["foregroundDeletion"]
        self._commit(kind, key, replace(live, body={**live.body, "metadata": metadata}))

    def remove(self, kind: Kind, key: Key) -> None:
        """Take an object away."""
        live = self.stored.pop((kind, key))
        self.version += 1
        metadata = {**live.body["metadata"], "resourceVersion": str(self.version)}
        self._publish(WatchEvent(kind, {**live.body, "metadata": metadata}, "DELETED"))

    def snapshot(self) -> Mapping[str, Any]:
        """Return everything, to begin from it again."""
        return {"version": self.version, "stored": dict(self.stored), "uids": self.uids}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Begin from a snapshot."""
        self.version, self.uids = snapshot["version"], snapshot["uids"]
        self.stored = dict(snapshot["stored"])

    def _owned(self, kind: Kind, key: Key) -> Owned:
        owned = self.stored.get((kind, key))
        if owned is None:
            raise ApiError(404, "NotFound", f'{kind.plural}.{kind.group} "{key.name}" not found')
        return owned

    def _write(self, kind: Kind, key: Key, live: Owned | None, made: Owned) -> Object:
        """Take a write, unless it changes nothing or makes the object invalid."""
        if live is None:
            made = self._new(kind, key, made)
        made = replace(made, body=self.admission(kind, with_defaults(kind, made.body)))
        problem = invalid(kind, None if live is None else live.body, made.body)
        if problem is not None:
            message = f'{kind.kind} "{key.name}" is invalid: {problem}'
            raise ApiError(422, "Invalid", message)
        if live is not None and made.body == live.body:
            self.stored[kind, key] = made
            return _sent(made, kind)
        if live is not None and _counted(kind, live.body) != _counted(kind, made.body):
            generation = live.body["metadata"]["generation"] + 1
            made = replace(made, body=_with_metadata(made.body, generation=generation))
        return _sent(self._commit(kind, key, made), kind)

    def _new(self, kind: Kind, key: Key, made: Owned) -> Owned:
        if key.namespace in self.terminating_namespaces:
            message = (
                f'{kind.plural} "{key.name}" is forbidden: unable to create new content in'
                f" namespace {key.namespace} because it is being terminated"
            )
            cause = {"reason": "NamespaceTerminating", "message": message}
            raise ApiError(403, "Forbidden", message, (cause,))
        self.uids += 1
        identity = {"namespace": key.namespace} if kind.namespaced else {}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **made.body}
        fresh = {
            "name": key.name,
            **identity,
            "uid": f"00000000-0000-4000-8000-{self.uids:012}",
            "generation": 1,
            "creationTimestamp": self.clock(),
        }
        return replace(made, body=_with_metadata(body, **fresh))

    def _commit(self, kind: Kind, key: Key, made: Owned) -> Owned:
        self.version += 1
        body = _with_metadata(made.body, resourceVersion=str(self.version))
        action = "MODIFIED" if (kind, key) in self.stored else "ADDED"
        self.stored[kind, key] = made = replace(made, body=body)
        self._publish(WatchEvent(kind, body, action))
        metadata = body["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers", kind == kinds.POD):
            self.remove(kind, key)
        return made

    def _publish(self, event: WatchEvent) -> None:
        self.feed.append(event)
        for listener in list(self.listeners):
            listener(event)


def _check_version(kind: Kind, name: str, live: Owned | None, version: str | None) -> None:
    """Refuse an apply to an object of another version than the expected one."""
    if live is not None and version not in {None, live.body["metadata"]["resourceVersion"]}:
        problem = (
            "the object has been modified; please apply your changes to the latest version and try"
            " again"
        )
        message = f'Operation cannot be fulfilled on {kind.plural} "{name}": {problem}'
        raise ApiError(409, "Conflict", message)


def _check_uid(kind: Kind, name: str, live: Owned | None, uid: str | None) -> None:
    """Refuse an apply to an object of another uid than the expected one."""
    if uid is None or (live is not None and live.body["metadata"]["uid"] == uid):
        return
    if live is not None:
        problem = f'metadata.uid: Invalid value: "{uid}": field is immutable'
        raise ApiError(422, "Invalid", f'{kind.kind} "{name}" is invalid: {problem}')
    problem = (
        f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    )
    raise ApiError(
        409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{name}": {problem}'
    )


def _part(desired: Object, *, status: bool) -> Object:
    """Return what an apply is about: a status and the rest are written at different addresses."""
    if status:
        return {"status": desired.get("status", {})}
    metadata = {
        key: one
        for key, one in desired["metadata"].items()
        if key not in {"name", "namespace", "uid", "resourceVersion"}
    }
    fields = {
        key: one
        for key, one in desired.items()
        if key not in {"apiVersion", "kind", "metadata", "status"}
    }
    return {**fields, **({"metadata": metadata} if metadata else {})}


def _counted(kind: Kind, body: Object) -> object:
    """Return what the generation counts: the spec, and of a Deployment also the annotations."""
    content = {key: one for key, one in body.items() if key not in {"metadata", "status"}}
    annotations = body["metadata"].get("annotations") if kind == kinds.DEPLOYMENT else None
    return content, annotations, body["metadata"].get("deletionTimestamp")


def _with_metadata(body: Object, **fields: Any) -> Object:
    return {**body, "metadata": {**body.get("metadata", {}), **fields}}


def _sent(owned: Owned, kind: Kind) -> Object:
    managers = [
        {
            "manager": one.name,
            "operation": one.operation,
            "subresource": one.subresource,
            "time": owned.body.get("metadata", {}).get("creationTimestamp"),
            "fieldsV1": {f"f:{path[0]}": {} for path in paths},
        }
        for one, paths in owned.managers.items()
    ]
    body = {"apiVersion": kind.api_version, "kind": kind.kind, **owned.body}
    return _with_metadata(body, managedFields=managers)


def _conflict_error(conflict: FieldConflict, kind: Kind) -> ApiError:
    """Return the error of an apply, as the API server words it."""
    causes = tuple(
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager.name}" using {kind.api_version}',
            "field": shown(path),
        }
        for manager, path in conflict.conflicts
    )
    details = "\n- ".join(f"{one['message']}: {one['field']}" for one in causes)
    count = len(causes)
    message = f"Apply failed with {count} conflict{'s' * (count > 1)}: {details}"
    return ApiError(409, "Conflict", message, causes)
