"""The controllers and the kubelet of a fake cluster: Deployments become pods, orphans are deleted.

No ReplicaSets: a pod belongs to its Deployment. A rollout takes one pod away before it makes the
next one (maxSurge 0, maxUnavailable 1), or after it (1 and 0). A paused one keeps the pods.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from builders import Object, crashed_container, ended, merged
from fake_jobs import FakeJobs
from fake_objects import FakeObjects, WatchEvent
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key, key_of
from mistral_server.contract import TerminationReport

CONTROLLER_SECONDS = 0.05
"""Until a controller reacts to a change."""
START_SECONDS = 0.3
"""Until a created pod runs."""
READY_SECONDS = 2.0
"""Until a container that runs is ready, or fails."""
STOP_SECONDS = 0.3
"""Until a pod that is deleted is gone."""
BACKOFF_SECONDS = 10.0
"""Until a container that failed starts again."""

StartResult = Callable[[Object], TerminationReport | None]
"""Returns how a start with the settings of a server fails; None if it becomes ready."""


@dataclass
class FakeWorkloads:
    """Runs the pods of Deployments, in the time of the event loop."""

    objects: FakeObjects
    start_result: StartResult = lambda _: None
    pods_made: int = 0
    pending: set[asyncio.TimerHandle] = field(default_factory=set)
    pod_error: str = ""
    """Why the API server rejects new pods, for example a quota."""

    def __post_init__(self) -> None:
        self.jobs = FakeJobs(self.objects, self._later)
        self.objects.listeners.append(self._on_event)

    def stop(self) -> None:
        """Do nothing more."""
        self.objects.listeners.remove(self._on_event)
        for timer in self.pending:
            timer.cancel()

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind == kinds.DEPLOYMENT and event.action != "DELETED":
            self._later(CONTROLLER_SECONDS, self._sync, key_of(event.body))
        if event.kind == kinds.JOB and event.action == "ADDED":
            self._later(CONTROLLER_SECONDS, self.jobs.start, key_of(event.body))
        if event.kind == kinds.POD:
            if _is_terminating(event.body) and event.action != "DELETED":
                uid = event.body["metadata"]["uid"]
                self._later(STOP_SECONDS, self._remove, key_of(event.body), uid)
            owner = _controller(event.body)
            if owner is not None:
                key = Key(event.body["metadata"]["namespace"], owner["name"])
                self._later(CONTROLLER_SECONDS, self._sync, key)
        if event.action != "MODIFIED":
            self._later(2 * CONTROLLER_SECONDS, self._collect)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        def fire() -> None:
            self.pending.discard(timer)
            call(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self.pending.add(timer)

    def _collect(self) -> None:
        """Delete objects whose owners were deleted."""
        uids = {one.body["metadata"]["uid"] for one in self.objects.stored.values()}
        for (kind, key), owned in list(self.objects.stored.items()):
            owners = owned.body["metadata"].get("ownerReferences", ())
            orphan = owners and not any(one["uid"] in uids for one in owners)
            if orphan and "deletionTimestamp" not in owned.body["metadata"]:
                self.objects.delete(kind, key)

    # --- Deployments ------------------------------------------------------------------------------

    def _sync(self, key: Key) -> None:
        body = self.objects.find(kinds.DEPLOYMENT, key)
        if body is None:
            return
        if _is_terminating(body):
            self._end(key, body)
            return
        desired, template = body["spec"]["replicas"], _hash(body["spec"]["template"])
        pods = [pod for pod in self._pods_of(body) if not _is_terminating(pod)]
        old = [pod for pod in pods if _label(pod) != template]
        surge = body["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        if body["spec"].get("paused"):
            if old or not pods:
                self._report(key, body, template)
                return
            surge = 0
        surplus = sorted(
            pods, key=lambda pod: (_label(pod) == template, is_ready(pod), _youngest_first(pod))
        )
        most = desired + (surge if old else 0)
        victims = surplus[: max(len(pods) - most, 0)]
        if not victims and old:
            unready = [pod for pod in old if not is_ready(pod)]
            ready = [pod for pod in pods if is_ready(pod)]
            victims = unready or (old[:1] if len(ready) >= desired + surge else [])
        for pod in victims:
            self.objects.mark_deleted(kinds.POD, key_of(pod))
        terminating = [pod for pod in self._pods_of(body) if _is_terminating(pod)]
        # The GPUs of a terminating pod are not free yet.
        allowed = desired if victims else most
        for _ in range(allowed - len(pods) + len(victims) - len(terminating)):
            if not self.pod_error:
                self._create_pod(body, template)
        self._report(key, body, template)

    def _end(self, key: Key, body: Object) -> None:
        """Delete the pods of a Deployment that is deleted in the foreground, and then itself."""
        pods = [*self._pods_of(body)]
        for pod in pods:
            self.objects.mark_deleted(kinds.POD, key_of(pod))
        if not pods:
            self.objects.remove(kinds.DEPLOYMENT, key)

    def _report(self, key: Key, body: Object, template: str) -> None:
        pods = [pod for pod in self._pods_of(body) if not _is_terminating(pod)]
        counts = {
            "replicas": len(pods),
            "updatedReplicas": sum(_label(pod) == template for pod in pods),
            "readyReplicas": sum(map(is_ready, pods)),
        }
        failure = {"type": "ReplicaFailure", "status": "True", "message": self.pod_error}
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "conditions": [failure] if self.pod_error else [],
            **{name: count for name, count in counts.items() if count},
        }
        self._write_status(kinds.DEPLOYMENT, key, lambda _: status)

    def _pods_of(self, deployment: Object) -> Iterator[Object]:
        uid = deployment["metadata"]["uid"]
        for pod in self.objects.all(kinds.POD):
            owner = _controller(pod)
            if owner is not None and owner["uid"] == uid:
                yield pod

    def _create_pod(self, deployment: Object, template: str) -> None:
        self.pods_made += 1
        metadata, desired = deployment["metadata"], deployment["spec"]["template"]
        name = f"{metadata['name']}-{template}-{self.pods_made}"
        owner = {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {**desired["metadata"]["labels"], "pod-template-hash": template},
                "annotations": desired["metadata"].get("annotations", {}),
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": desired["spec"],
            "status": {"phase": "Pending"},
        }
        made = self.objects.create(kinds.POD, pod, manager="kube-controller-manager")
        self._later(START_SECONDS, self._start, key_of(made), made["metadata"]["uid"])

    # --- The kubelet ------------------------------------------------------------------------------

    def _start(self, key: Key, uid: str) -> None:
        """Start a container that is not ready yet."""

        def change(status: Object) -> Object:
            (before,) = status.get("containerStatuses") or [{"restartCount": 0, "lastState": {}}]
            running = {"running": {"startedAt": self.objects.clock()}}
            return _running(status, {**before, "ready": False, "started": False, "state": running})

        if self._lives(key, uid):
            self._write_status(kinds.POD, key, change)
            self._later(READY_SECONDS, self._get_ready_or_fail, key, uid)

    def _get_ready_or_fail(self, key: Key, uid: str) -> None:
        pod = self.objects.find(kinds.POD, key)
        if pod is None or not self._lives(key, uid):
            return
        is_replica = names.LABEL_DEPLOYMENT in pod["metadata"]["labels"]
        report = self.start_result(settings_of(pod)) if is_replica else None
        if report is not None:
            self.fail(key, report)
            return
        self._write_status(
            kinds.POD,
            key,
            lambda status: _running(
                status, {**status["containerStatuses"][0], "ready": True, "started": True}
            ),
        )

    def fail(self, key: Key, report: TerminationReport) -> None:
        """Let the container of a pod exit; it restarts after the back-off of the kubelet."""
        pod = self.objects.find(kinds.POD, key)
        if pod is None:
            raise AssertionError(f"there is no pod {key.name}")
        uid = pod["metadata"]["uid"]

        def change(status: Object) -> Object:
            restarts = status["containerStatuses"][0]["restartCount"] + 1
            state = ended(
                81,
                message=report.to_bytes().decode(),
                containerID=f"containerd://{key.name}-{restarts}",
                finishedAt=self.objects.clock(),
            )
            failed = crashed_container(81, restartCount=restarts, lastState=state)
            return _running(status, failed)

        self._write_status(kinds.POD, key, change)
        self._later(BACKOFF_SECONDS, self._start, key, uid)

    def _remove(self, key: Key, uid: str) -> None:
        pod = self.objects.find(kinds.POD, key)
        if pod is not None and pod["metadata"]["uid"] == uid:
            self.objects.remove(kinds.POD, key)

    def _lives(self, key: Key, uid: str) -> bool:
        pod = self.objects.find(kinds.POD, key)
        return pod is not None and pod["metadata"]["uid"] == uid and not _is_terminating(pod)

    def _write_status(self, kind: kinds.Kind, key: Key, change: Callable[[Object], Object]) -> None:
        self.objects.update(
            *(kind, key, lambda live: {**live, "status": change(live.get("status", {}))}),
            manager="kubelet",
            status=True,
        )


def is_ready(pod: Object) -> bool:
    """Tell whether a pod is ready."""
    conditions = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def settings_of(pod: Object) -> Object:
    """Return the settings of the server in a pod."""
    (container,) = pod["spec"]["containers"]
    settings: Object = json.loads(container["env"][0]["value"])
    return settings


def _running(status: Object, container: Object) -> Object:
    ready = "True" if container["ready"] else "False"
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]
    named = {**container, "name": names.CONTAINER}
    changes = {"phase": "Running", "podIP": "10.1.0.7", "conditions": conditions}
    return merged(status, {**changes, "containerStatuses": [named]})


def _controller(body: Object) -> Object | None:
    owners = body["metadata"].get("ownerReferences", ())
    return next((one for one in owners if one.get("controller")), None)


def _is_terminating(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _label(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["pod-template-hash"])


def _youngest_first(pod: Object) -> int:
    """Return an order in which the youngest pod goes first."""
    return -int(pod["metadata"]["name"].rpartition("-")[2])


def _hash(template: Object) -> str:
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
