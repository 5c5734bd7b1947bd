"""A real KEDA on loopback, with the rights that its own manifests give it.

Two processes: the operator watches ScaledObjects, makes a HorizontalPodAutoscaler of each, and asks
what their triggers name; the metrics server has the operator's numbers for the API server.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from cluster_namespace import until_served
from external_metrics import registered
from mistral_dev import tools
from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.resource_definitions import until_established
from mistral_dev.settings import free_ports

NAMESPACE = "keda"
SERVICE_ACCOUNT = "keda-operator"
USERNAME = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
"""Who writes what KEDA writes, in the audit log."""

START_SECONDS = 60.0
STOP_SECONDS = 15.0

_RIGHTS = (
    "general/namespace.yaml",
    "service_account/service_account.yaml",
    "rbac/role.yaml",
    "rbac/role_binding.yaml",
    "metrics-server/role.yaml",
    "metrics-server/role_binding.yaml",
)
"""KEDA's manifests without its Deployments, Services and admission webhooks."""


@dataclass
class Keda:
    """The processes of one KEDA.

    Args:
        cluster: what it watches.
        folder: for its certificates and logs.
    """

    cluster: Cluster
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._probe_port, self._service_port, self.metrics_port, self._own_port = free_ports(4)

    def start(self) -> None:
        """Install it, start it, and wait until it answers."""
        programs = tools.ensure(["keda-operator", "keda-adapter"])
        self._install(tools.sources("keda") / "config")
        self._write_kubeconfig()
        self._write_certificates()
        self._start(programs["keda-operator"], self._operator_flags())
        self._start(programs["keda-adapter"], self._adapter_flags())
        wait_until(self._answers, f"KEDA; its logs are in {self.folder}", START_SECONDS)

    def stop(self) -> None:
        """Stop it; what it installed stays."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _install(self, manifests: Path) -> None:
        # Server-side: the definition of ScaledJobs is too long for the annotation of the other way.
        apply = ("apply", "--server-side")
        self.cluster.kubectl(*apply, "--kustomize", str(manifests / "crd"))
        self.cluster.kubectl(*apply, *(f"--filename={manifests / name}" for name in _RIGHTS))
        until_established(self.cluster)
        until_served(self.cluster, "scaledobjects")

    def _write_kubeconfig(self) -> None:
        """Write one as KEDA's pods have it: an administrator may do what its rights forbid."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        token = self.cluster.kubectl("--namespace", NAMESPACE, "create", "token", SERVICE_ACCOUNT)
        config["users"][0]["user"] = {"token": token}
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(yaml.safe_dump(config))

    def _write_certificates(self) -> None:
        """Copy a certificate that is good for both ends of a connection on loopback."""
        copies = {"ca.crt": "ca.crt", "tls.crt": "etcd.crt", "tls.key": "etcd.key"}
        for name, source in copies.items():
            shutil.copy(self.cluster.kubeconfig.with_name(source), self.folder / name)

    def _operator_flags(self) -> list[str]:
        return [
            f"--cert-dir={self.folder}",
            f"--health-probe-bind-address=127.0.0.1:{self._probe_port}",
            f"--metrics-service-bind-address=127.0.0.1:{self._service_port}",
            "--metrics-bind-address=0",
            "--zap-encoder=console",
        ]

    def _adapter_flags(self) -> list[str]:
        return [
            "--bind-address=127.0.0.1",
            f"--secure-port={self.metrics_port}",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={self.folder / 'tls.crt'}",
            f"--tls-private-key-file={self.folder / 'tls.key'}",
            f"--authentication-kubeconfig={self._kubeconfig}",
            f"--authorization-kubeconfig={self._kubeconfig}",
            f"--lister-kubeconfig={self._kubeconfig}",
            f"--metrics-service-address=127.0.0.1:{self._service_port}",
            f"--port={self._own_port}",
            "--zap-encoder=console",
        ]

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def _start(self, program: Path, flags: list[str]) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "WATCH_NAMESPACE": "",  # all of them
            "POD_NAMESPACE": NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
        }
        with (self.folder / f"{program.name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen([program, *flags], env=environment, stdout=log, stderr=log)
            )

    def _answers(self) -> bool:
        for process in self.processes:
            assert process.poll() is None, f"KEDA ended; its logs are in {self.folder}"
        try:
            with urlopen(f"http://127.0.0.1:{self._probe_port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except URLError:
            return False


@contextmanager
def running_keda(cluster: Cluster, folder: Path) -> Iterator[Keda]:
    """Run a KEDA that the cluster's autoscalers query external metrics of, until the block ends."""
    keda = Keda(cluster, folder)
    try:
        keda.start()
        with registered(cluster, keda.metrics_port):
            yield keda
    finally:
        keda.stop()
