"""What a recording does to endpoints: apply, edit, kill, load; and waiting for their conditions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.panels.load import Load

READY_SECONDS = 900.0
"""A start takes 40 s on two idle cores, and several start at the same time here."""

_KILL = (
    "import os, pathlib\n"
    "for file in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
    "    if b'EngineCore' in file.read_bytes():\n"
    "        os.kill(int(file.parent.name), 9)\n"
    "        break\n"
)


@dataclass(frozen=True)
class Stage:
    """A namespace with endpoints."""

    cluster: Cluster
    namespace: str

    def apply(self, *resources: dict[str, Any]) -> None:
        """Apply resources as a user does."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(resources)}
        self._kubectl("apply", "-f", "-", text=json.dumps(document))

    def edit(self, name: str, spec: dict[str, Any]) -> None:
        """Change fields of a resource's spec."""
        patch = json.dumps({"spec": spec})
        self._kubectl("patch", "msd", name, "--type=merge", f"--patch={patch}")

    def kill_engine(self, name: str) -> None:
        """Kill the engine's core process in a pod of an endpoint, as the kernel may."""
        self._kubectl("exec", f"deployment/{name}", "--", "python3", "-c", _KILL)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """Return a condition of a resource, empty if it has none."""
        resource = json.loads(self._kubectl("get", "msd", name, "-o", "json"))
        conditions = resource.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def until(self, name: str, kind: str, status: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a condition of a resource has a status."""
        self._wait(
            lambda: self.condition(name, kind).get("status") == status,
            f"{name}: {kind}={status}",
            seconds,
        )

    def until_reason(self, name: str, reason: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the condition Ready of a resource has a reason."""
        self._wait(
            lambda: self.condition(name, "Ready").get("reason") == reason,
            f"{name}: {reason}",
            seconds,
        )

    def replicas(self, name: str) -> int:
        """Return the ready replicas of an endpoint."""
        deployment = json.loads(self._kubectl("get", "deployment", name, "-o", "json"))
        return int(deployment.get("status", {}).get("readyReplicas", 0))

    def until_replicas(self, name: str, count: int, seconds: float = READY_SECONDS) -> None:
        """Wait until an endpoint has so many ready replicas."""
        self._wait(lambda: self.replicas(name) == count, f"{name}: {count} ready", seconds)

    def start_load(
        self, part: str, name: str, kinds: Iterable[str], clients: int, seconds: float
    ) -> None:
        """Send requests to the Service of an endpoint, in a process of the cluster."""
        service = json.loads(self._kubectl("get", "service", name, "-o", "json"))
        url = f"http://{service['spec']['clusterIP']}:8000"
        command = Load(url, tuple(kinds), clients, seconds).command()
        self.cluster.processes.start(f"load-{part}", command)

    def until_load_ended(self, part: str, seconds: float) -> None:
        """Wait until a load has ended by itself."""
        name = f"load-{part}"
        self._wait(lambda: not self.cluster.processes.alive(name), f"the end of {name}", seconds)

    def load_log(self, part: str) -> str:
        """Return what a load that has ended counted."""
        return self.cluster.processes.log(f"load-{part}").read_text()

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        wait_until(condition, what, seconds)

    def _kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, text=text)
