"""A namespace of one test, with the kubectl verbs that tests need, and waiting in it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.errors import CommandFailedError
from mistral_operator.kube.names import API_VERSION, KIND

WAIT_SECONDS = 30.0

READY_SECONDS = 420.0
"""Ten times what a real server takes to start on an idle machine of two cores."""

Object = dict[str, Any]


def resource(name: str, spec: Object | None = None) -> Object:
    """Return a resource as a user writes it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": spec or {},
    }


def until_served(cluster: Cluster, *plurals: str) -> None:
    """Wait until new kinds can be listed: established ones still initialize for a moment."""

    def listed() -> bool:
        try:
            cluster.kubectl("get", ",".join(plurals), "--all-namespaces")
        except CommandFailedError:
            return False
        return True

    wait_until(listed, f"{plurals} to be served", WAIT_SECONDS)


@dataclass
class Namespace:
    """One namespace of a cluster."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, text=text)

    def apply(self, *objects: Object) -> None:
        """Apply objects as a user does."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", text=json.dumps(document))

    def refusal(self, *objects: Object) -> str:
        """Apply objects that must be refused, and return what the API server said."""
        with pytest.raises(CommandFailedError) as failed:
            self.apply(*objects)
        return failed.value.output

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if there is none."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        body: Object | None = json.loads(text) if text else None
        return body

    def all_of(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        items: list[Object] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def condition(self, name: str, kind: str = "Ready") -> Object:
        """Return a condition of a resource, empty if there is none."""
        body = self.get("msd", name) or {}
        conditions = body.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def wait_for_reason(
        self, name: str, reason: str, kind: str = "Ready", seconds: float = WAIT_SECONDS
    ) -> Object:
        """Wait until a condition has a reason, and return the condition."""
        condition: Object = {}

        def has_reason() -> bool:
            nonlocal condition
            condition = self.condition(name, kind)
            return condition.get("reason") == reason

        self.until(has_reason, f"{name}: {reason}", seconds)
        return condition

    def wait_until_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a resource is Ready, however long a real server takes to start."""
        self.until(lambda: self.condition(name).get("status") == "True", f"{name} ready", seconds)

    def wait_for(self, kind: str, name: str) -> Object:
        """Wait until an object exists, and return it."""
        self.until(lambda: self.get(kind, name) is not None, f"{kind} {name}")
        body = self.get(kind, name)
        assert body is not None
        return body

    def until(self, condition: Any, what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a condition holds."""
        try:
            wait_until(condition, what, seconds)
        except Exception:
            # What a person would look at first.
            print(self.kubectl("get", "msd,deployment,pod", "-o", "wide"))
            raise
