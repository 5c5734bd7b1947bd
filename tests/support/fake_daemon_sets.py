"""The DaemonSet controller of a fake cluster, and kubelets that take their time to pull images."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from builders import Object
from fake_objects import FakeObjects, WatchEvent
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key, key_of

CONTROLLER_SECONDS = 0.05
"""Until the controller reacts to a change."""
PULL_SECONDS = 120.0
"""Until a node has pulled an image."""
FAIL_SECONDS = 2.0
"""Until a kubelet reports an image that it cannot pull."""

PullFailure = Callable[[str, str], str]
"""Returns what a node reports of an image that it cannot pull; empty if it pulls it."""


@dataclass
class FakeDaemonSets:
    """Runs the pods of DaemonSets, in the time of the event loop."""

    objects: FakeObjects
    failure: PullFailure = lambda _node, _image: ""
    pull_seconds: float = PULL_SECONDS
    pod_error: str = ""
    """Why the API server rejects new pods, for example a quota."""
    pulled: set[tuple[str, str]] = field(default_factory=set)
    """The nodes that have pulled which image."""
    pending: set[asyncio.TimerHandle] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.objects.listeners.append(self._on_event)

    def stop(self) -> None:
        """Do nothing more."""
        self.objects.listeners.remove(self._on_event)
        for timer in self.pending:
            timer.cancel()

    def daemon_sets(self) -> list[Object]:
        """Return the DaemonSets that exist."""
        return list(self.objects.all(kinds.DAEMON_SET))

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind == kinds.DAEMON_SET and event.action != "DELETED":
            self._later(CONTROLLER_SECONDS, self._sync, key_of(event.body))

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        def fire() -> None:
            self.pending.discard(timer)
            call(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self.pending.add(timer)

    def _sync(self, key: Key) -> None:
        body = self.objects.find(kinds.DAEMON_SET, key)
        if body is None:
            return
        nodes, pods = nodes_of(body), {_node(one): one for one in self._pods_of(body)}
        for node in nodes:
            if node not in pods and not self.pod_error:
                self._create_pod(body, node)
        for node, pod in pods.items():
            if node not in nodes:
                self.objects.remove(kinds.POD, key_of(pod))
        self._report(key)

    def _report(self, key: Key) -> None:
        body = self.objects.find(kinds.DAEMON_SET, key)
        if body is None:
            return
        counts = {
            "desiredNumberScheduled": len(nodes_of(body)),
            "numberReady": sum(_runs(pod) for pod in self._pods_of(body)),
            "observedGeneration": body["metadata"]["generation"],
        }
        if body.get("status") != counts:
            self._write_status(kinds.DAEMON_SET, key, counts)

    def _pods_of(self, daemon_set: Object) -> Iterator[Object]:
        uid = daemon_set["metadata"]["uid"]
        for pod in self.objects.all(kinds.POD):
            if any(one["uid"] == uid for one in pod["metadata"].get("ownerReferences", ())):
                yield pod

    def _create_pod(self, daemon_set: Object, node: str) -> None:
        metadata, template = daemon_set["metadata"], daemon_set["spec"]["template"]
        owner = {"kind": "DaemonSet", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-{node}",
                "namespace": metadata["namespace"],
                **template["metadata"],
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": {**template["spec"], "nodeName": node},
            "status": {"phase": "Pending"},
        }
        made = self.objects.create(kinds.POD, pod, manager="kube-controller-manager")
        image = template["spec"]["containers"][0]["image"]
        failure = self.failure(node, image)
        seconds = FAIL_SECONDS if failure else self.pull_seconds
        if (node, image) in self.pulled:
            seconds = CONTROLLER_SECONDS
        self._later(seconds, self._pull, key_of(made), key_of(daemon_set), node, image, failure)

    def _pull(self, pod: Key, daemon_set: Key, node: str, image: str, failure: str) -> None:
        if self.objects.find(kinds.POD, pod) is None:
            return
        state: Object = {"running": {"startedAt": self.objects.clock()}}
        if failure:
            state = {"waiting": {"reason": "ErrImagePull", "message": failure}}
        else:
            self.pulled.add((node, image))
        container = {"name": names.PREPULL_CONTAINER, "ready": not failure, "state": state}
        self._write_status(kinds.POD, pod, {"phase": "Running", "containerStatuses": [container]})
        self._report(daemon_set)

    def _write_status(self, kind: kinds.Kind, key: Key, status: Object) -> None:
        self.objects.update(
            *(kind, key, lambda live: {**live, "status": status}), manager="kubelet", status=True
        )


def nodes_of(daemon_set: Object) -> list[str]:
    """Return the nodes that the pods of a DaemonSet have an affinity to, by name."""
    affinity = daemon_set["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [term["matchFields"][0]["values"][0] for term in terms]


def _node(pod: Object) -> str:
    return str(pod["spec"]["nodeName"])


def _runs(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    return any("running" in one["state"] for one in statuses)
