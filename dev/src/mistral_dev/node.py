"""The one real node: containerd, kubelet, kube-proxy; started and emptied by `cluster`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from mistral_dev import cgroups, pause, sysctls, tools
from mistral_dev.certificates import NODE_NAME
from mistral_dev.commands import run, wait_until
from mistral_dev.containerd import Containerd
from mistral_dev.kubectl import Kubectl
from mistral_dev.network import NODE_IP, POD_CIDR
from mistral_dev.paths import Layout
from mistral_dev.processes import Processes

PARTS = ("containerd", "kubelet", "kube-proxy")
"""Names of the processes."""

READY_SECONDS = 90.0
"""From the start of kubelet to a node that takes pods; 3 to 5 s were seen."""

GPU = "nvidia.com/gpu"
"""The resource that GPU pods request."""

_LOG_LINKS = Path("/var/log/containers")


@dataclass(frozen=True)
class Node:
    """The node of one cluster.

    Args:
        layout: its files.
        processes: starts its parts; knows the network namespace.
        containerd: runs its containers.
        kubectl: speaks with its control plane.
        group: its control group, of which there is one per cluster.
    """

    layout: Layout
    processes: Processes
    containerd: Containerd
    kubectl: Kubectl
    group: str

    def start(self, pause_archive: Path) -> None:
        """Start what does not run and wait until the node takes pods."""
        cgroups.create(self.group)
        sysctls.acquire(self.layout.root)
        self.containerd.start(pause.IMAGE)
        self.containerd.import_image(pause_archive)
        self._write_configs()
        if not self.processes.alive("kubelet"):
            self._forget_readiness()
        self._start_kubelet(tools.program("kubelet"))
        self._start_proxy(tools.program("kube-proxy"))
        self.processes.wait_ready("kubelet", self.ready, READY_SECONDS)

    def ready(self) -> bool:
        """Return whether the node is ready for pods."""
        path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
        status = self.kubectl("get", "node", NODE_NAME, "--ignore-not-found", "-o", path)
        return status == "True"

    def set_gpus(self, count: int) -> None:
        """Set the node's number of GPUs for the scheduler, without any real GPU.

        Raises:
            DevError: the node does not show them within 30 s.
        """
        path = f"/status/%s/{GPU.replace('/', '~1')}"
        patch = [
            # The second would follow at kubelet's next report, within 5 s; this saves the wait.
            {"op": "add", "path": path % "capacity", "value": str(count)},
            {"op": "add", "path": path % "allocatable", "value": str(count)},
        ]
        self.kubectl(
            *("patch", "node", NODE_NAME, "--subresource=status", "--type=json"),
            *("--patch", json.dumps(patch)),
        )
        wait_until(lambda: self.gpus() == count, f"{count} GPUs on {NODE_NAME}", 30)

    def gpus(self) -> int:
        """Return how many GPUs the scheduler may give away on the node."""
        path = "jsonpath={.status.allocatable.nvidia\\.com/gpu}"
        return int(self.kubectl("get", "node", NODE_NAME, "-o", path) or 0)

    def stop(self) -> None:
        """Stop the node and remove every container, mount and group of it."""
        self.processes.stop(["kube-proxy", "kubelet"])
        self.containerd.empty()
        self._unmount()
        cgroups.delete(self.group)
        sysctls.release(self.layout.root)
        self._remove_log_links()

    def kubelet_config(self) -> dict[str, object]:
        """Return kubelet's configuration."""
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            **self._kubelet_identity(),
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.group}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "containerRuntimeEndpoint": f"unix://{self.layout.containerd_socket}",
            "clusterDomain": "cluster.local",
            # Nothing listens there: no test resolves a service by name. Without an
            # address kubelet would attach a MissingClusterDNS warning to every pod.
            "clusterDNS": [NODE_IP],
            "resolvConf": str(self._resolver),
            "podLogsDir": str(self.layout.root / "pod-logs"),
            "failSwapOn": False,
            "oomScoreAdj": 0,  # a lower one takes CAP_SYS_RESOURCE, which root may lack
            # Never collect images: they came from archives, and nothing could pull them again.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "200Mi",
                "nodefs.available": "1Gi",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1Gi",
            },
            "maxPods": 110,
            "hairpinMode": "hairpin-veth",
            "serializeImagePulls": False,
            "nodeStatusUpdateFrequency": "5s",
        }

    def proxy_config(self) -> dict[str, object]:
        """Return kube-proxy's configuration."""
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.layout.pki / "kube-proxy.kubeconfig")},
            "clusterCIDR": POD_CIDR,
            "hostnameOverride": NODE_NAME,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "nodePortAddresses": [f"{NODE_IP}/32"],
            # Zero leaves those kernel settings alone; outside the first namespace they are
            # read-only.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }

    @property
    def _resolver(self) -> Path:
        return self.layout.config / "resolv.conf"

    def _kubelet_identity(self) -> dict[str, object]:
        pki = self.layout.pki
        return {
            "address": NODE_IP,
            "healthzBindAddress": "127.0.0.1",
            "tlsCertFile": str(pki / "kubelet-server.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
        }

    def _write_configs(self) -> None:
        # An empty file would make containerd copy the machine's own into every pod.
        self._resolver.write_text("nameserver 127.0.0.1\n")
        for name, config in (("kubelet", self.kubelet_config()), ("proxy", self.proxy_config())):
            (self.layout.config / f"{name}.yaml").write_text(yaml.safe_dump(config))

    def _start_kubelet(self, program: Path) -> None:
        self.processes.start(
            "kubelet",
            [
                program,
                f"--config={self.layout.config / 'kubelet.yaml'}",
                f"--kubeconfig={self.layout.pki / 'kubelet.kubeconfig'}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={NODE_IP}",
                f"--root-dir={self.layout.root / 'kubelet'}",
                f"--cert-dir={self.layout.root / 'kubelet' / 'pki'}",
                "--v=2",
            ],
        )

    def _forget_readiness(self) -> None:
        """Reset the node's readiness, which still has the value from before it was stopped."""
        if self.kubectl("get", "node", NODE_NAME, "--ignore-not-found", "-o", "name"):
            unknown = {"type": "Ready", "status": "Unknown", "reason": "Restarting"}
            patch = json.dumps({"status": {"conditions": [unknown]}})
            self.kubectl("patch", "node", NODE_NAME, "--subresource=status", "--patch", patch)

    def _start_proxy(self, program: Path) -> None:
        binding = "mistral-dev-kube-proxy"
        grant = ("--clusterrole=system:node-proxier", "--user=system:kube-proxy")
        if not self.kubectl("get", "clusterrolebinding", binding, "--ignore-not-found"):
            self.kubectl("create", "clusterrolebinding", binding, *grant)
        config = self.layout.config / "proxy.yaml"
        self.processes.start("kube-proxy", [program, f"--config={config}"])

    def _unmount(self) -> None:
        """Unmount what pods left under the state directory, the deepest first."""
        inside = f"{self.layout.root}/"
        for point in sorted((p for p in _mount_points() if p.startswith(inside)), reverse=True):
            # An error here has to stop us: a wipe would delete through a mount that is left.
            run(["umount", "--lazy", point])

    def _remove_log_links(self) -> None:
        """Remove the links to pod logs that kubelet made for log collectors, ours only."""
        ours = str(self.layout.root)
        for link in _LOG_LINKS.glob("*.log"):
            if link.is_symlink() and str(link.readlink()).startswith(f"{ours}/"):
                link.unlink()


def _mount_points() -> list[str]:
    """Return every mount point; the kernel writes a blank in one as an octal escape."""
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line.split()[1].encode().decode("unicode_escape") for line in lines]
