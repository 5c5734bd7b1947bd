"""Fake nodes: kwok reports them and their pods as running; used by `cluster`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mistral_dev.commands import succeeds, wait_until
from mistral_dev.kubectl import Kubectl
from mistral_dev.network import FAKE_POD_CIDR
from mistral_dev.processes import Processes

FAKE_ANNOTATION = "kwok.x-k8s.io/node"
"""Marks a node as fake. kwok leaves every other node alone."""

FAKE_LABEL = "type"
FAKE_LABEL_VALUE = "kwok"
"""Selects fake nodes: `type=kwok`, which is what kwok's own examples use."""

PART = "kwok"
"""Name of the process."""

READY_SECONDS = 30.0


@dataclass(frozen=True)
class FakeNodes:
    """A number of equal fake nodes.

    Args:
        count: how many; they are called `fake-0`, `fake-1` and so on.
        gpus: whole GPUs of each.
        cpu: cores of each.
        memory: bytes of each, as a Kubernetes quantity.
        tainted: keep pods away that do not tolerate `kwok.x-k8s.io/node`; for clusters that also
            have a real node.
    """

    count: int
    gpus: int = 8
    cpu: int = 64
    memory: str = "512Gi"
    tainted: bool = False

    def names(self) -> list[str]:
        """Return the names of the nodes."""
        return [f"fake-{index}" for index in range(self.count)]

    def manifests(self) -> dict[str, object]:
        """Return the nodes as one list."""
        return {"apiVersion": "v1", "kind": "List", "items": [self._node(n) for n in self.names()]}

    def _node(self, name: str) -> dict[str, object]:
        resources = {
            "cpu": str(self.cpu),
            "memory": self.memory,
            "ephemeral-storage": "2Ti",
            "nvidia.com/gpu": str(self.gpus),
            "pods": "110",
        }
        taint = {"key": FAKE_ANNOTATION, "value": "fake", "effect": "NoSchedule"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {FAKE_ANNOTATION: "fake"},
                "labels": {
                    FAKE_LABEL: FAKE_LABEL_VALUE,
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
            },
            "spec": {"taints": [taint]} if self.tainted else {},
            "status": {"capacity": resources, "allocatable": resources},
        }


@dataclass(frozen=True)
class Kwok:
    """The process that answers for the fake nodes of one cluster.

    Args:
        processes: starts it; knows the network namespace.
        kubectl: speaks with the control plane.
        port: where it listens, on loopback.
    """

    processes: Processes
    kubectl: Kubectl
    port: int

    def start(self, program: Path) -> None:
        """Start it and wait until it is healthy."""
        self.processes.start(PART, [program, *self.flags()])
        url = f"http://127.0.0.1:{self.port}/healthz"
        health = self.processes.inside(["curl", "--fail", "--silent", url])
        self.processes.wait_ready(PART, lambda: succeeds(health), READY_SECONDS)

    def flags(self) -> list[str]:
        """Return its flags: it manages the nodes with our annotation and no others."""
        return [
            f"--kubeconfig={self.kubectl.kubeconfig}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={FAKE_ANNOTATION}=fake",
            "--node-lease-duration-seconds=40",
            f"--server-address=127.0.0.1:{self.port}",
            f"--cidr={FAKE_POD_CIDR}",
        ]

    def add(self, nodes: FakeNodes) -> None:
        """Make sure that nodes exist and are ready.

        Raises:
            DevError: they were not within 120 s; 50 were after 1.2 s.
        """
        self.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(nodes.manifests()))
        names = set(nodes.names())
        # One list per poll: `kubectl wait` watches nodes one by one and takes 8 s for 50 of them.
        wait_until(lambda: names <= self._ready(), f"{nodes.count} fake nodes to be ready", 120)

    def _ready(self) -> set[str]:
        ready = '{.status.conditions[?(@.type=="Ready")].status}'
        rows = f'jsonpath={{range .items[*]}}{{.metadata.name}} {ready}{{"\\n"}}{{end}}'
        lines = self.kubectl("get", "nodes", "-o", rows).splitlines()
        return {line.split()[0] for line in lines if line.endswith(" True")}
