"""Ask an API server which requests a service account may make, without making them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mistral_dev.cluster import Cluster


@dataclass(frozen=True)
class Attempt:
    """A request; the fields are those of a SubjectAccessReview."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def review(self, user: str) -> dict[str, object]:
        """Return the review that tells whether a user may make it."""
        attributes = asdict(self)
        attributes["resource"], _, attributes["subresource"] = self.resource.partition("/")
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups(user), "resourceAttributes": attributes},
        }


def groups(user: str) -> list[str]:
    """Return the groups that the API server finds a user in."""
    if not user.startswith("system:serviceaccount:"):
        return ["system:authenticated"]
    namespace = user.split(":")[2]
    own = f"system:serviceaccounts:{namespace}"
    return ["system:serviceaccounts", own, "system:authenticated"]


def allowed(cluster: Cluster, user: str, attempts: Sequence[Attempt]) -> set[Attempt]:
    """Return those of the attempts that a user may make."""
    # One request a document, but one start of kubectl for all of them.
    documents = "\n---\n".join(json.dumps(attempt.review(user)) for attempt in attempts)
    verdict = 'jsonpath={.status.allowed}{"\\n"}'
    answers = cluster.kubectl("create", "-f", "-", "-o", verdict, text=documents).split()
    verdicts = zip(attempts, answers, strict=True)
    return {attempt for attempt, answer in verdicts if answer == "true"}
