"""The Job controller of a fake cluster, and the kubelet that runs the pods of Jobs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from builders import Object, crashed_container, ended, merged
from fake_objects import FakeObjects
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key, key_of
from mistral_server.contract import TerminationReport

NODE = "gpu-0"
FETCH_SECONDS = 3.0
"""Until a fetch that runs has succeeded or failed."""
BACKOFF_SECONDS = 10.0
"""Until a container that failed starts again."""
_STEP_SECONDS = 0.1

FetchResult = Callable[[Object], TerminationReport | None]
"""Returns how a fetch with some settings fails; None if it succeeds."""
Later = Callable[..., None]
"""Calls a function after some seconds."""


@dataclass
class FakeJobs:
    """Runs the pods of Jobs."""

    objects: FakeObjects
    later: Later
    fetch_result: FetchResult = lambda _: None
    rejection: str = ""
    """Why the API server rejects their pods."""
    has_sidecar: bool = False
    """Something adds a container to their pods that never ends."""
    hangs: bool = False
    """A fetch goes on until its pod is deleted."""
    fetched: list[str] = field(default_factory=list)
    """The revision of each fetch that succeeded."""

    def start(self, key: Key) -> None:
        """Create the pod of a Job, or say why there is none."""
        job = self.objects.find(kinds.JOB, key)
        if job is None:
            return
        if self.rejection:
            self.objects.create(kinds.EVENT, _failed_create(job, self.rejection))
            return
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                **template["metadata"],
                "name": f"{metadata['name']}-{metadata['uid'][-3:]}",
                "namespace": key.namespace,
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": {**template["spec"], "nodeName": NODE},
            "status": {"phase": "Pending"},
        }
        made = self.objects.create(kinds.POD, pod, manager="kube-controller-manager")
        self.later(_STEP_SECONDS, self._run, key_of(made), made["metadata"]["uid"], 0)

    def _run(self, key: Key, uid: str, restarts: int) -> None:
        container = {"restartCount": restarts, "state": {"running": {}}, "lastState": {}}
        if self._report(key, uid, "Running", container) and not self.hangs:
            self.later(FETCH_SECONDS, self._finish, key, uid, restarts)

    def _finish(self, key: Key, uid: str, restarts: int) -> None:
        pod = self._pod(key, uid)
        if pod is None:
            return
        settings = fetch_settings_of(pod)
        report = self.fetch_result(settings)
        if report is not None:
            message = report.to_bytes().decode()
            self._report(key, uid, "Running", crashed_container(66, message=message))
            self.later(BACKOFF_SECONDS, self._run, key, uid, restarts + 1)
            return
        self.fetched.append(settings["revision"])
        done = {"restartCount": restarts, "state": ended(0, "Completed")}
        self._report(key, uid, "Running" if self.has_sidecar else "Succeeded", done)
        if not self.has_sidecar:
            self.later(_STEP_SECONDS, self._complete, pod)

    def _complete(self, pod: Object) -> None:
        (owner,) = pod["metadata"]["ownerReferences"]
        key = Key(pod["metadata"]["namespace"], owner["name"])
        job = self.objects.find(kinds.JOB, key)
        if job is not None and job["metadata"]["uid"] == owner["uid"]:
            complete = {"type": "Complete", "status": "True"}
            self._write(kinds.JOB, key, {"succeeded": 1, "conditions": [complete]})

    def _report(self, key: Key, uid: str, phase: str, container: Object) -> bool:
        """Write the status of a pod; return whether it still exists."""
        if self._pod(key, uid) is None:
            return False
        status = {**container, "name": names.FETCH_CONTAINER, "ready": phase == "Running"}
        scheduled = {"type": "PodScheduled", "status": "True"}
        self._write(
            kinds.POD,
            key,
            {"phase": phase, "conditions": [scheduled], "containerStatuses": [status]},
        )
        return True

    def _pod(self, key: Key, uid: str) -> Object | None:
        pod = self.objects.find(kinds.POD, key)
        gone = pod is None or "deletionTimestamp" in pod["metadata"]
        return None if gone or pod is None or pod["metadata"]["uid"] != uid else pod

    def _write(self, kind: kinds.Kind, key: Key, status: Object) -> None:
        self.objects.update(
            *(kind, key, lambda live: merged(live, {"status": status})),
            manager="kube-controller-manager",
            status=True,
        )


def fetch_settings_of(pod: Object) -> Object:
    """Return the settings of the fetch in a pod."""
    (container,) = pod["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    settings: Any = json.loads(values["MISTRAL_FETCH_SETTINGS"])
    return {"revision": "main", **settings}


def _failed_create(job: Object, message: str) -> Object:
    metadata = job["metadata"]
    return {
        "metadata": {"name": f"{metadata['name']}.1", "namespace": metadata["namespace"]},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": f"Error creating: {message}",
        "count": 1,
        "lastTimestamp": "2026-03-01T12:00:00Z",
        "involvedObject": {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]},
    }
