"""Ownership of fields by managers, as in server-side apply. Pure.

The parts that the operator relies on are as strict as the API server. A value of another manager is
changed by force only, and a field is removed when its last applier omits it. Simplified: a table of
the written fields, not the schema, says which lists are keyed and which maps are atomic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from builders import Object

Path = tuple[Any, ...]
"""Names of fields, and for an item of a keyed list its keys with their values."""

ITEM = object()
"""The value of an item of a keyed list as such: owning it keeps it in the list."""

_POD = "spec.template.spec"
_CONTAINER = {"env": ("name",), "ports": ("containerPort", "protocol")}
KEYED: dict[str, tuple[str, ...]] = {
    "metadata.ownerReferences": ("uid",),
    "spec.ports": ("port", "protocol"),
    "status.conditions": ("type",),
    "status.oom.totals": ("class",),
    f"{_POD}.volumes": ("name",),
    f"{_POD}.imagePullSecrets": ("name",),
    f"{_POD}.hostAliases": ("ip",),
    **{f"{_POD}.{one}": ("name",) for one in ("containers", "initContainers")},
    **{f"{_POD}.{one}.volumeMounts": ("mountPath",) for one in ("containers", "initContainers")},
    **{
        f"{_POD}.{one}.{name}": keys
        for one in ("containers", "initContainers")
        for name, keys in _CONTAINER.items()
    },
}
"""Lists that are merged item by item, with the fields that tell the items apart."""

ATOMIC = {"spec.selector", "spec.podSelector", f"{_POD}.nodeSelector"}
"""Maps that have one owner as a whole; all lists that are not keyed do, too."""

_DEFAULT_KEYS = {"protocol": "TCP"}


class Manager(NamedTuple):
    """Who wrote a field: appliers and others of one name are two managers."""

    name: str
    operation: str
    subresource: str = ""


@dataclass(frozen=True)
class Owned:
    """An object with the owners of its fields."""

    body: Object
    managers: Mapping[Manager, frozenset[Path]] = field(default_factory=dict)


class FieldConflict(Exception):
    """An apply without force would change what other managers own."""

    def __init__(self, conflicts: list[tuple[Manager, Path]]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts


class DuplicateItems(Exception):
    """Two items of a keyed list have the same keys; the message is the API server's."""


def leaves(value: Any, path: Path = (), at: str = "") -> Iterator[tuple[Path, Any]]:
    """Yield every field that has an owner of its own, with its value."""
    if isinstance(value, dict) and value and at not in ATOMIC:
        for key, one in value.items():
            yield from leaves(one, (*path, key), f"{at}.{key}" if at else key)
    elif isinstance(value, list) and at in KEYED:
        for item in value:
            within = (*path, item_key(item, at))
            yield within, ITEM
            yield from leaves(item, within, at)
    else:
        yield path, value


def _check_items(desired: Object) -> None:
    paths = [path for path, value in leaves(desired) if value is ITEM]
    twice = next((one for one in paths if paths.count(one) > 1), None)
    if twice is not None:
        where, item = dotted(twice), _shown_item(twice[-1])
        raise DuplicateItems(f".{where}: duplicate entries for key {item}")


def dotted(path: Path) -> str:
    """Return a path without the items of lists."""
    return ".".join(part for part in path if isinstance(part, str))


def shown(path: Path) -> str:
    """Return a path as the API server writes it."""
    return "".join(f".{part}" if isinstance(part, str) else _shown_item(part) for part in path)


def _shown_item(keys: tuple[tuple[str, Any], ...]) -> str:
    keys_text = ",".join(
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}" for key, value in keys
    )
    return f"[{keys_text}]"


def item_key(item: Object, at: str) -> tuple[tuple[str, Any], ...]:
    """Return what tells an item of a keyed list from the others."""
    return tuple((key, item.get(key, _DEFAULT_KEYS.get(key))) for key in KEYED[at])


def applied(live: Owned, desired: Object, manager: Manager, *, force: bool) -> Owned:
    """Return an object after a server-side apply.

    Raises:
        FieldConflict: without force, what others own would change.
        DuplicateItems: a keyed list has an item twice.
    """
    _check_items(desired)
    now, before = dict(leaves(desired)), dict(leaves(live.body))
    conflicts = [
        (other, path)
        for other, paths in live.managers.items()
        if other != manager
        for path, value in now.items()
        if path in paths and value is not ITEM and before.get(path) != value
    ]
    if conflicts and not force:
        raise FieldConflict(sorted(conflicts, key=lambda one: (one[0], shown(one[1]))))
    lost = set(conflicts)
    others = {
        other: frozenset(path for path in paths if (other, path) not in lost)
        for other, paths in live.managers.items()
        if other != manager
    }
    # A map that was empty is a field, and with entries the place of others.
    written = frozenset().union(*others.values(), now)
    kept = written | {path[:end] for path in written for end in range(len(path))}
    body = merged(live.body, desired)
    # Items before what is in them, which goes with them.
    for path in sorted(live.managers.get(manager, frozenset()) - kept, key=len):
        if not _is_key(path):
            body = without(body, path)
    managers = {**others, manager: frozenset(now)}
    return Owned(body, {one: paths for one, paths in managers.items() if paths})


def _is_key(path: Path) -> bool:
    """Tell whether a field tells its item from others: it stays as long as the item does."""
    return len(path) > 1 and not isinstance(path[-2], str) and path[-1] in dict(path[-2])


def updated(live: Owned, body: Object, manager: Manager) -> Owned:
    """Return an object after a write that is no apply: what changed has a new owner."""
    parts = {key for key in {*live.body, *body} if live.body.get(key) is not body.get(key)}
    now = dict(leaves({key: body[key] for key in parts if key in body}))
    before = dict(leaves({key: live.body[key] for key in parts if key in live.body}))
    changed = {path for path, value in now.items() if path not in before or before[path] != value}
    managers = {
        other: frozenset(
            path for path in paths if path[0] not in parts or (path in now and path not in changed)
        )
        for other, paths in live.managers.items()
    }
    managers[manager] = managers.get(manager, frozenset()) | changed
    return Owned(body, {one: paths for one, paths in managers.items() if paths})


def merged(live: Any, desired: Any, path: Path = ()) -> Any:
    """Return the live value merged with the desired one."""
    at = dotted(path)
    if isinstance(desired, dict) and isinstance(live, dict) and at not in ATOMIC:
        both = {key: merged(live.get(key), one, (*path, key)) for key, one in desired.items()}
        return {**live, **both}
    if isinstance(desired, list) and isinstance(live, list) and at in KEYED:
        current = {item_key(item, at): item for item in live}
        ours = {item_key(item, at): item for item in desired}
        mixed = [merged(current.get(key), item, (*path, key)) for key, item in ours.items()]
        return mixed + [item for key, item in current.items() if key not in ours]
    return desired


def without(value: Any, path: Path, at: Path = ()) -> Any:
    """Return a value without one of its fields, and without the maps that this leaves empty."""
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not isinstance(value, dict) or step not in value:
            return value
        within = without(value[step], rest, (*at, step)) if rest else None
        kept = {key: one for key, one in value.items() if key != step}
        return {**kept, step: within} if within else kept
    if not isinstance(value, list):
        return value
    items = []
    for item in value:
        if item_key(item, dotted(at)) != step:
            items.append(item)
        elif rest:
            items.append(without(item, rest, (*at, step)))
    return items
