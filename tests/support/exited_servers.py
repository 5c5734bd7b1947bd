"""Pods whose server has exited, as a kubelet reports them."""

from builders import Object
from mistral_server.contract import TerminationReport


def exited_status(pod: str, number: int, report: TerminationReport) -> Object:
    """Return the status of a pod whose server has exited for the given number of times."""
    exited = {
        "exitCode": 81,
        "reason": "Error",
        "message": report.to_bytes().decode(),
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:01:00Z",
        "containerID": f"containerd://{pod}-{number}",
    }
    container = {
        "name": "server",
        "image": "example.com/server:test",
        "imageID": "",
        "ready": False,
        "restartCount": number,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": exited},
    }
    conditions = [{"type": "Ready", "status": "False"}]
    return {"status": {"containerStatuses": [container], "conditions": conditions}}
