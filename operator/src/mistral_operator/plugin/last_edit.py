"""When a spec was edited last, and by which program, as the API server notes it. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from mistral_operator.kube.objects import Body


class Edit(NamedTuple):
    """One edit of a spec."""

    time: str
    program: str
    """Its field manager, such as kubectl-edit. Who ran it is in the API server's audit log."""


def last_edit(body: Body) -> Edit | None:
    """Return the last edit that set a field of a spec; None if the API server notes none.

    An edit that only removes fields leaves no note.
    """
    return max(_edits(body), default=None)


def _edits(body: Body) -> Iterator[Edit]:
    for note in body["metadata"].get("managedFields") or ():
        # The operator writes the status, and autoscalers the scale subresource.
        if note.get("time") and not note.get("subresource") and "f:spec" in note["fieldsV1"]:
            yield Edit(note["time"], note.get("manager", ""))
