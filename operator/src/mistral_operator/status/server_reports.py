"""The message of a server's termination report, in terms of the resource."""

import re

from mistral_operator.api.fields import with_field_names
from mistral_server.contract import TerminationReport

_REJECTED = re.compile(r"MISTRAL_(SERVER|FETCH)_SETTINGS cannot be used: ")
_UNKNOWN_SETTING = re.compile(r"([\w.]+): Extra inputs are not permitted")
"""pydantic's message for a field that the server's version of a model does not have."""


def report_message(report: TerminationReport) -> str:
    """Return what happened and what to change."""
    unknown = _unknown_settings(report.message)
    if not unknown:
        return with_field_names(report.message)
    return (
        f"the server image is older than the operator and does not know {', '.join(unknown)}:"
        " set spec.image to the image of this release"
    )


def _unknown_settings(message: str) -> list[str]:
    """Return the settings that a server rejected as unknown, by the names of their fields."""
    rejected = _REJECTED.match(message)
    if rejected is None:
        return []
    prefix = "fetch." if rejected[1] == "FETCH" else ""
    return [with_field_names(prefix + name) for name in _UNKNOWN_SETTING.findall(message)]
