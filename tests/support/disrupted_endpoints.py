"""Endpoints of one replica on a real node, and what takes their replica away."""

import itertools
import json
from dataclasses import dataclass

from cluster_namespace import READY_SECONDS, Namespace, Object
from e2e_endpoint import kill_engine
from mistral_operator.kube import names

_edits = itertools.count(1)


@dataclass(frozen=True)
class Endpoint:
    """A Deployment of one replica with its Service: `Managed` by the operator, or bare."""

    namespace: Namespace
    name: str

    @property
    def selector(self) -> str:
        """The label of its pods."""
        return f"app={self.name}"

    def pods(self) -> list[Object]:
        """Return its pods, those that are terminating included."""
        text = self.namespace.kubectl("get", "pod", f"--selector={self.selector}", "-o", "json")
        pods: list[Object] = json.loads(text)["items"]
        return pods

    def pod(self) -> str:
        """Return the name of its one pod."""
        (pod,) = self.pods()
        return str(pod["metadata"]["name"])

    def is_settled(self) -> bool:
        """Return whether its one pod is ready and stays."""
        pods = self.pods()
        return len(pods) == 1 and _serves(pods[0])

    def until_settled(self, seconds: float = READY_SECONDS) -> None:
        """Wait until its one pod is ready and stays."""
        self.namespace.until(self.is_settled, f"{self.name} to have one ready pod", seconds)

    def edit(self) -> None:
        """Change the template of its pods."""
        annotations = {"edit": str(next(_edits))}
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        self._patch("deployment", patch)

    def evict(self) -> None:
        """Evict its pod, as `kubectl drain` does."""
        metadata = {"name": self.pod(), "namespace": self.namespace.name}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{self.namespace.name}/pods/{self.pod()}/eviction"
        self.namespace.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(eviction))

    def delete_pod(self) -> None:
        """Delete its pod."""
        self.namespace.kubectl("delete", "pod", self.pod(), "--wait=false")

    def kill_engine(self) -> None:
        """Kill the engine's core process."""
        kill_engine(self.namespace, self.pod())

    def containers(self) -> set[str]:
        """Return the ids of the containers that run or ran last."""
        return {
            status.get("containerID", "")
            for pod in self.pods()
            for status in pod["status"].get("containerStatuses", [])
        }

    def until_replaced(self, before: set[str]) -> None:
        """Wait until a container that was not there before is ready, and nothing else is left."""
        self.namespace.until(
            lambda: self.is_settled() and not self.containers() & before,
            f"another replica of {self.name}",
            READY_SECONDS,
        )

    def _patch(self, kind: str, patch: Object) -> None:
        text = json.dumps(patch)
        self.namespace.kubectl("patch", kind, self.name, "--type=merge", f"--patch={text}")


@dataclass(frozen=True)
class Managed(Endpoint):
    """An endpoint of the operator."""

    @property
    def selector(self) -> str:
        return f"{names.LABEL_DEPLOYMENT}={self.name}"

    def edit(self) -> None:
        """Change a field that restarts the pods, another one each time."""
        number = next(_edits)
        self.patch(
            (
                {"drainSeconds": 30 + number},
                {"pod": {"annotations": {"example.com/edit": str(number)}}},
                {"engine": {"maxSequences": 8 + number}},
            )[number % 3]
        )

    def patch(self, spec: Object) -> None:
        """Edit the resource."""
        self._patch("msd", {"spec": spec})

    def is_settled(self) -> bool:
        """Return whether its one pod is ready, stays, and is all that the Service leads to."""
        return super().is_settled() and not self.is_held() and self._is_ready()

    def is_held(self) -> bool:
        """Return whether the Service leads to the activator."""
        name = names.activator_slice(self.name, ipv6=False)
        return bool((self.namespace.get("endpointslice", name) or {}).get("endpoints"))

    def until_held(self) -> None:
        """Wait until no replica serves and the Service leads to the activator."""

        def held() -> bool:
            return self.is_held() and not any(_serves(pod) for pod in self.pods())

        self.namespace.until(held, f"the activator in place of {self.name}", READY_SECONDS)

    def _is_ready(self) -> bool:
        body = self.namespace.get("msd", self.name) or {}
        ready = self.namespace.condition(self.name)
        generation = body.get("metadata", {}).get("generation")
        return (ready.get("status"), ready.get("observedGeneration")) == ("True", generation)


def bare_copy(managed: Managed, name: str) -> Endpoint:
    """Create a Deployment of the same pods and strategy, and a Service, without an operator."""
    namespace, labels = managed.namespace, {"app": name}
    spec = namespace.wait_for("deployment", managed.name)["spec"]
    template = {"metadata": {"labels": labels}, "spec": spec["template"]["spec"]}
    selector = {"matchLabels": labels}
    ports = namespace.wait_for("service", managed.name)["spec"]["ports"]
    metadata = {"name": name}
    namespace.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "strategy": spec["strategy"],
                "selector": selector,
                "template": template,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
    )
    return Endpoint(namespace, name)


def kill_container(namespace: Namespace, selector: str) -> None:
    """Kill the process of the one pod with these labels, without any warning."""
    text = namespace.kubectl("get", "pod", f"--selector={selector}", "-o", "json")
    (pod,) = json.loads(text)["items"]
    (status,) = pod["status"]["containerStatuses"]
    identity = status["containerID"].removeprefix("containerd://")
    namespace.cluster.run_inside(["ctr", "tasks", "kill", "--signal", "SIGKILL", identity])


def delete(endpoint: Endpoint) -> None:
    """Delete a bare endpoint."""
    endpoint.namespace.kubectl(
        "delete", "deployment,service", endpoint.name, "--ignore-not-found", "--wait=false"
    )


def _serves(pod: Object) -> bool:
    """Return whether a pod is ready and stays."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
