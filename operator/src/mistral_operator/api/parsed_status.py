"""From the status that the API server holds to the model. Pure.

Any client with the right to do so can edit a status, and its schema does not exclude everything
that makes no sense. What cannot be understood is dropped field by field, so that the rest is kept.
"""

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import ValidationError

from mistral_operator.api.status import ConditionType, Status

_OURS = {one.value for one in ConditionType}


class ParsedStatus(NamedTuple):
    """A status as far as it can be understood."""

    status: Status
    is_intact: bool
    """Nothing had to be dropped."""


def parse_status(raw: Any) -> ParsedStatus:
    """Return the status without the conditions of other controllers."""
    try:
        status, is_intact = Status.model_validate({} if raw is None else raw), True
    except ValidationError:
        status, is_intact = _understood(raw), False
    ours = [one for one in status.conditions if one.type in _OURS]
    return ParsedStatus(status.model_copy(update={"conditions": ours}), is_intact)


def _understood(raw: Any) -> Status:
    """Return a status without the fields that no model takes."""
    document = {"status": deepcopy(raw) if isinstance(raw, Mapping) else {}}
    while True:
        try:
            return Status.model_validate(document["status"])
        except ValidationError as error:
            first = error.errors()[0]
            path = first["loc"][:-1] if first["type"] == "missing" else first["loc"]
            _remove(document, ("status", *path))


def foreign_conditions(raw: Any) -> list[Any]:
    """Return the conditions that other controllers added to a status."""
    conditions = raw.get("conditions") if isinstance(raw, Mapping) else None
    return [
        one for one in conditions or () if isinstance(one, Mapping) and one.get("type") not in _OURS
    ]


def _remove(document: dict[str, Any], path: tuple[int | str, ...]) -> None:
    """Remove what is at a path, or the part of the path that is there."""
    container: Any = document
    for part, following in pairwise(path):
        if not _holds(container[part], following):
            break
        container = container[part]
    else:
        part = path[-1]
    del container[part]


def _holds(container: Any, part: int | str) -> bool:
    if isinstance(container, list):
        return isinstance(part, int) and part < len(container)
    return isinstance(container, dict) and part in container
