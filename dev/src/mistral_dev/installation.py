"""Put the operator and a small model into a local cluster: for the demo and the end-to-end tests.

The images come from archives, the model from a hostPath volume with the tiny checkpoint; everything
else is what a user does: `helm install` and `kubectl apply`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mistral_dev import tools
from mistral_dev.cluster import Cluster
from mistral_dev.commands import run
from mistral_dev.errors import CommandFailedError, DevError
from mistral_dev.images import operator_image, server_image
from mistral_dev.paths import CHECKOUT
from mistral_dev.prepare import Prepared

CHART = CHECKOUT / "charts" / "mistral-small-operator"
EXAMPLE = CHECKOUT / "examples" / "cpu.yaml"
"""An endpoint that this installation can serve; its name is `tiny`."""
RELEASE = "mistral-small-operator"
OPERATOR_NAMESPACE = "mistral-system"
CLAIM = "tiny-model"
"""Name of the claim with the tiny checkpoint; examples/cpu.yaml refers to it."""

HELM_SECONDS = 180


@dataclass(frozen=True)
class Installation:
    """An operator in a cluster."""

    cluster: Cluster
    prepared: Prepared

    def install(self, *values: str) -> None:
        """Import the images and install or upgrade the chart; `values` are helm's --set."""
        self.cluster.import_image(self.prepared.operator_image)
        self.cluster.import_image(self.prepared.server_image)
        own = (*_image("image", operator_image.NAME), *_image("server.image", server_image.NAME))
        try:
            self.helm(
                *("upgrade", "--install", RELEASE, str(CHART)),
                *("--namespace", OPERATOR_NAMESPACE, "--create-namespace"),
                *("--wait", "--timeout", f"{HELM_SECONDS}s"),
                *(part for value in (*own, *values) for part in ("--set", value)),
            )
        except CommandFailedError as error:
            # helm waits for pods without reporting their state.
            raise DevError(f"{error}\n{self._what_pods_say()}") from error

    def _what_pods_say(self) -> str:
        kubectl, within = self.cluster.kubectl, ("--namespace", OPERATOR_NAMESPACE)
        pods = kubectl(*within, "get", "pods", "-o", "wide")
        instance = f"--selector=app.kubernetes.io/instance={RELEASE}"
        return f"{pods}\n{kubectl(*within, 'logs', instance, '--tail=15', '--prefix')}"

    def helm(self, *arguments: str) -> str:
        """Run helm against the cluster and return what it printed."""
        program = tools.ensure(["helm"])["helm"]
        return run([program, *arguments], env=self.cluster.environment(), seconds=HELM_SECONDS + 60)

    def stop_operator(self) -> None:
        """Scale the operator to nothing, and wait until it is gone."""
        self._scale_operator(0)

    def start_operator(self) -> None:
        """Start the operator again."""
        self._scale_operator(1)

    def _scale_operator(self, replicas: int) -> None:
        kubectl, target = self.cluster.kubectl, f"deployment/{RELEASE}"
        within = ("--namespace", OPERATOR_NAMESPACE)
        kubectl(*within, "scale", target, f"--replicas={replicas}")
        kubectl(*within, "rollout", "status", target, "--timeout=60s")

    def make_namespace(self, name: str) -> None:
        """Make a namespace that enforces the restricted Pod Security Standard, with the model."""
        self._apply(_namespace(name), *_model_volume(name, self.prepared.checkpoint))

    def _apply(self, *objects: dict[str, object]) -> None:
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.cluster.kubectl("apply", "-f", "-", text=document)


def _image(prefix: str, name: str) -> tuple[str, str]:
    repository, tag = name.rsplit(":", 1)
    return f"{prefix}.repository={repository}", f"{prefix}.tag={tag}"


def _namespace(name: str) -> dict[str, object]:
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": level}}


def _model_volume(namespace: str, checkpoint: Path) -> tuple[dict[str, object], ...]:
    """Return a volume on the checkpoint's directory and the claim that is bound to it."""
    volume = f"{namespace}-{CLAIM}"
    size = {"storage": "1Gi"}
    modes = ["ReadOnlyMany"]
    return (
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "storageClassName": "",
                "hostPath": {"path": str(checkpoint), "type": "Directory"},
                "claimRef": {"namespace": namespace, "name": CLAIM},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": namespace},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": size},
            },
        },
    )
