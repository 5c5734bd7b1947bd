"""Posts an Event, or counts it on the one of the same name.

client-go folds Events in the same way, in memory. Here the API server remembers: an operator that
takes over counts on, and does not count again what its predecessor has posted.
"""

from typing import Any

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Occupied
from mistral_operator.kube.kinds import EVENT
from mistral_operator.kube.names import ANNOTATION_FOLLOWS

Event = dict[str, Any]

_EXISTS = 409
_CHANGED = {404, 409, 422}
"""Statuses of a patch: the Event expired or was changed meanwhile."""
_ATTEMPTS = 3


async def post_or_fold(cluster: Cluster, event: Event) -> None:
    """Post an Event; if there is one of its name, count it there, with its time and its words.

    Raises:
        Unavailable: the API server does not take it now.
        ClusterError: the API server does not take it.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await cluster.post_event(event["metadata"]["namespace"], event)
        except ClusterError as error:
            if error.status != _EXISTS:
                raise
            exists = error
        else:
            return
        try:
            if await _fold(cluster, event):
                return
        except ClusterError as error:
            if error.status not in _CHANGED or attempt == _ATTEMPTS:
                raise
    # It exists, as the API server says, and was not found each time.
    raise Occupied(exists.status, exists.reason, str(exists)) from exists


async def _fold(cluster: Cluster, event: Event) -> bool:
    """Count an Event on the one of its name; return whether there is one.

    It is read by its name in a list, for which the operator has the right.
    """
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    matches = await cluster.list_some(EVENT, namespace, f"metadata.name={name}")
    if not matches:
        return False
    if operations := folded(matches[0], event):
        await cluster.patch(EVENT, namespace, name, operations)
    return True


def folded(live: Event, event: Event) -> list[dict[str, Any]]:
    """Return the JSON Patch that counts an Event on a live one; empty if it is counted already."""
    metadata, count = live["metadata"], live.get("count")
    annotations = metadata.get("annotations") or {}
    follows = event["metadata"]["annotations"][ANNOTATION_FOLLOWS]
    new = event["count"] - _counted(annotations.get(ANNOTATION_FOLLOWS, ""), follows)
    if new <= 0:
        return []
    values = {
        "/metadata/annotations": {**annotations, ANNOTATION_FOLLOWS: follows},
        "/count": (count if isinstance(count, int) else 1) + new,
        "/lastTimestamp": event["lastTimestamp"],
        "/message": event["message"],
    }
    return [
        {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": metadata["resourceVersion"],
        },
        *({"op": "add", "path": path, "value": value} for path, value in values.items()),
    ]


def _counted(live: str, event: str) -> int:
    """Return how many occurrences after the same status a live Event has counted."""
    before, _, number = live.rpartition("/")
    same = before == event.rpartition("/")[0] and number.isdecimal()
    return int(number) if same else 0
