"""The control plane: etcd, API server, controller manager, scheduler; started by `cluster`.

The flags are pure functions of `ControlPlane`, so that tests can read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mistral_dev import audit, tools
from mistral_dev.commands import succeeds, wait_until
from mistral_dev.network import NODE_IP, SERVICE_CIDR
from mistral_dev.paths import Layout, write_atomically
from mistral_dev.processes import Processes
from mistral_dev.settings import Ports

READY_SECONDS = 90.0
"""For each part. The API server took 4 s on two busy cores; a cold disk may take much longer."""

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Everything this module starts, in that order."""


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of one cluster.

    Args:
        layout: its files.
        processes: starts its parts; knows the network namespace.
        ports: where its parts listen.
        audited: let the API server write the audit log.
    """

    layout: Layout
    processes: Processes
    ports: Ports
    audited: bool = False

    def start(self) -> None:
        """Start what does not run and wait until all of it is healthy.

        Raises:
            ComponentFailedError: a part ended or did not get ready.
        """
        if self.audited:
            write_atomically(self._audit_policy, json.dumps(audit.policy()))
        elif not self.processes.alive("kube-apiserver"):
            # One of an earlier start would pass for this one's.
            self.layout.audit_log.unlink(missing_ok=True)
        self._start("etcd", self.etcd_flags())
        self._start("kube-apiserver", self.apiserver_flags())
        # Checked separately, so that an error names the part that failed and not one that waits.
        health = f"http://127.0.0.1:{self.ports.etcd_metrics}/health"
        self.processes.wait_ready("etcd", lambda: self._answers(health), READY_SECONDS)
        self.processes.wait_ready("kube-apiserver", self.api_ready, READY_SECONDS)
        self._start("kube-controller-manager", self.controller_manager_flags())
        self._start("kube-scheduler", self.scheduler_flags())
        for name, port in (
            ("kube-controller-manager", self.ports.controller_manager),
            ("kube-scheduler", self.ports.scheduler),
        ):
            url = f"https://127.0.0.1:{port}/healthz"
            self.processes.wait_ready(name, lambda url=url: self._answers(url), READY_SECONDS)  # type: ignore[misc]
        # Pods are rejected until it exists; the controller manager creates it.
        get_account = self._kubectl("-n", "default", "get", "serviceaccount", "default")
        wait_until(lambda: succeeds(get_account), "the default service account", READY_SECONDS)

    def api_ready(self) -> bool:
        """Return whether the API server is ready."""
        return succeeds(self._kubectl("get", "--raw", "/readyz"))

    def etcd_flags(self) -> list[str]:
        """Return etcd's flags: TLS for clients; the peer port of a single member leads nowhere."""
        client = f"https://127.0.0.1:{self.ports.etcd_client}"
        peer = f"http://127.0.0.1:{self.ports.etcd_peer}"
        return _flags(
            {
                "name": "local",
                "data-dir": self.layout.etcd,
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"local={peer}",
                "cert-file": self._pki("etcd.crt"),
                "key-file": self._pki("etcd.key"),
                "client-cert-auth": "true",
                "trusted-ca-file": self._pki("ca.crt"),
                "listen-metrics-urls": f"http://127.0.0.1:{self.ports.etcd_metrics}",
                "unsafe-no-fsync": "true",  # the data is not worth waiting for a disk
                "log-level": "warn",
            }
        )

    def apiserver_flags(self) -> list[str]:
        """Return the API server's flags."""
        return _flags(
            {
                **self._apiserver_address(),
                **self._apiserver_keys(),
                **(self._apiserver_audit() if self.audited else {}),
                "secure-port": self.ports.api,
                "allow-privileged": "true",
                "etcd-servers": f"https://127.0.0.1:{self.ports.etcd_client}",
                "kubelet-preferred-address-types": "InternalIP",
                "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
                "service-cluster-ip-range": SERVICE_CIDR,
                "authorization-mode": "Node,RBAC",
                "enable-admission-plugins": "NodeRestriction",
                # Tests change pods with policies, as the webhooks of platforms do.
                "feature-gates": "MutatingAdmissionPolicy=true",
                "runtime-config": "admissionregistration.k8s.io/v1beta1=true",
                "profiling": "false",
            }
        )

    def controller_manager_flags(self) -> list[str]:
        """Return the controller manager's flags."""
        return _flags(
            {
                **self._client_flags("kube-controller-manager"),
                "secure-port": self.ports.controller_manager,
                "service-account-private-key-file": self._pki("sa.key"),
                "root-ca-file": self._pki("ca.crt"),
                "use-service-account-credentials": "true",
                "cluster-signing-cert-file": self._pki("ca.crt"),
                "cluster-signing-key-file": self._pki("ca.key"),
                "service-cluster-ip-range": SERVICE_CIDR,
                "controllers": "*,-cloud-node-lifecycle-controller",
                # Instead of 15 s: a local cluster has few autoscalers, and tests wait for them.
                "horizontal-pod-autoscaler-sync-period": "3s",
            }
        )

    def scheduler_flags(self) -> list[str]:
        """Return the scheduler's flags."""
        return _flags({**self._client_flags("kube-scheduler"), "secure-port": self.ports.scheduler})

    def _apiserver_address(self) -> dict[str, object]:
        if self.processes.netns:
            return {"bind-address": "0.0.0.0", "advertise-address": NODE_IP}  # noqa: S104 - in a namespace without a way out
        # The `kubernetes` service refuses loopback as its endpoint, so it stays without one.
        return {
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
        }

    def _apiserver_keys(self) -> dict[str, object]:
        return {
            "etcd-cafile": self._pki("ca.crt"),
            "etcd-certfile": self._pki("apiserver-etcd.crt"),
            "etcd-keyfile": self._pki("apiserver-etcd.key"),
            "tls-cert-file": self._pki("apiserver.crt"),
            "tls-private-key-file": self._pki("apiserver.key"),
            "client-ca-file": self._pki("ca.crt"),
            "kubelet-client-certificate": self._pki("apiserver-kubelet.crt"),
            "kubelet-client-key": self._pki("apiserver-kubelet.key"),
            "kubelet-certificate-authority": self._pki("ca.crt"),
            "service-account-key-file": self._pki("sa.pub"),
            "service-account-signing-key-file": self._pki("sa.key"),
            "requestheader-client-ca-file": self._pki("front-proxy-ca.crt"),
            "requestheader-allowed-names": "front-proxy",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": self._pki("front-proxy.crt"),
            "proxy-client-key-file": self._pki("front-proxy.key"),
        }

    def _apiserver_audit(self) -> dict[str, object]:
        return {
            "audit-policy-file": self._audit_policy,
            "audit-log-path": self.layout.audit_log,
            # Before the answer goes out: what a client has seen done is in the log.
            "audit-log-mode": "blocking",
            # Megabytes. 0 means 100, and a rotated log would lose events for the reader.
            "audit-log-maxsize": 100_000,
        }

    def _client_flags(self, name: str) -> dict[str, object]:
        config = self._pki(f"{name}.kubeconfig")
        return {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": "127.0.0.1",
            "leader-elect": "false",
            "profiling": "false",
            # The defaults of 20 and 30 make 1,000 Deployments take 180 s instead of 22 s.
            "kube-api-qps": 200,
            "kube-api-burst": 400,
        }

    @property
    def _audit_policy(self) -> Path:
        return self.layout.config / "audit-policy.json"

    def _pki(self, name: str) -> Path:
        return self.layout.pki / name

    def _start(self, name: str, flags: list[str]) -> None:
        self.processes.start(name, [tools.program(name), *flags])

    def _kubectl(self, *arguments: str) -> list[str]:
        kubectl = str(tools.program("kubectl"))
        command = [kubectl, "--kubeconfig", str(self.layout.kubeconfig), *arguments]
        return self.processes.inside(command)

    def _answers(self, url: str) -> bool:
        # The certificate is one that the part made for itself.
        command = ["curl", "--fail", "--silent", "--insecure", url]
        return succeeds(self.processes.inside(command))


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={os.fspath(v) if isinstance(v, Path) else v}" for name, v in values.items()]
