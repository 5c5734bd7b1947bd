"""Facts of live Jobs. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body

_SUCCEEDED = {"Complete", "SuccessCriteriaMet"}
"""Conditions of a Job whose pod did what it was for; the second one comes first."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The Job that fetches the model of an endpoint in advance."""

    uid: str
    configuration: str = ""
    """Digest of what it runs, wherever its pod is placed; from the annotation."""
    applied: str = ""
    """Digest of what the operator applied, from the annotation."""
    succeeded: bool = False
    failure: str = ""
    """Why it makes no further attempt, if it does not."""


def job_facts(body: Body) -> JobFacts:
    """Return the facts of a Job."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions: Iterable[Body] = status.get("conditions") or ()
    true = {one["type"]: one for one in conditions if one.get("status") == "True"}
    failed = true.get("Failed", {})
    return JobFacts(
        uid=metadata["uid"],
        configuration=annotations.get(names.ANNOTATION_CONFIGURATION, ""),
        applied=annotations.get(names.ANNOTATION_APPLIED, ""),
        succeeded=bool(status.get("succeeded") or _SUCCEEDED & true.keys()),
        failure=str(failed.get("message") or failed.get("reason") or ""),
    )
