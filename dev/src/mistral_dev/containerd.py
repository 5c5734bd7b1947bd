"""The container runtime of a node cluster: the distribution's containerd on a socket of its own.

Started and emptied by `node`.
"""

from __future__ import annotations

import json
import shutil
import string
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mistral_dev.commands import run, succeeds, wait_until
from mistral_dev.errors import CommandFailedError, UsageError
from mistral_dev.network import POD_CIDR
from mistral_dev.packages import CNI_PLUGINS
from mistral_dev.paths import Layout
from mistral_dev.processes import Processes

PART = "containerd"
"""Name of the process."""

NAMESPACE = "k8s.io"
"""containerd's namespace that kubelet's requests end up in."""

READY_SECONDS = 30.0
LONGEST_SOCKET = 100
"""Bytes. Linux allows 107, and containerd puts `.ttrpc` behind the path for a second socket."""


@dataclass(frozen=True)
class Containerd:
    """The container runtime of one cluster.

    Args:
        layout: the cluster's files.
        processes: starts containerd.
        network: name of the container network, as in the logs.
    """

    layout: Layout
    processes: Processes
    network: str

    @property
    def state(self) -> Path:
        """What it keeps: images and snapshots below `root`, running tasks below `state`."""
        return self.layout.root / "containerd"

    def start(self, pause_image: str) -> None:
        """Start it and wait until it answers."""
        socket = self.layout.containerd_socket
        if len(str(socket)) > LONGEST_SOCKET:
            raise UsageError(
                f"The path {socket} is too long for a socket. "
                f"Set MISTRAL_DEV_STATE to a shorter folder."
            )
        config = self.layout.config / "containerd.toml"
        config.write_text(self.render(pause_image))
        networks = self.layout.config / "cni"
        networks.mkdir(exist_ok=True)
        (networks / "10-bridge.conflist").write_text(json.dumps(self.network_config()))
        self._run()

    def render(self, pause_image: str) -> str:
        """Return its configuration file."""
        template = resources.files("mistral_dev").joinpath("templates/containerd.toml").read_text()
        return string.Template(template).substitute(
            root=self.state,
            socket=self.layout.containerd_socket,
            pause_image=pause_image,
            cni_plugins=CNI_PLUGINS,
            cni_config=self.layout.config / "cni",
        )

    def network_config(self) -> dict[str, object]:
        """Return the container network: a bridge, nothing masked since nothing leads outside."""
        addresses = {
            "type": "host-local",
            "dataDir": str(self._addresses),
            "ranges": [[{"subnet": POD_CIDR}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,  # a pod may reach itself through its service
            "ipam": addresses,
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": self.network, "plugins": [bridge, ports]}

    def import_image(self, archive: Path) -> None:
        """Import an OCI archive, unless the same file was imported before.

        The same: path, size and time of change. To read a gigabyte again only to find out that it
        is known would take as long as the import.
        """
        seen = self.layout.root / "imported.json"
        imported: dict[str, list[int]] = json.loads(seen.read_text()) if seen.exists() else {}
        status = archive.stat()
        identity = [status.st_size, status.st_mtime_ns]
        if imported.get(str(archive.absolute())) == identity:
            return
        run([*self.ctr(), "images", "import", archive], seconds=900)
        seen.write_text(json.dumps({**imported, str(archive.absolute()): identity}))

    def ctr(self) -> list[str]:
        """Return the command that speaks with this containerd and no other."""
        return ["ctr", "--address", str(self.layout.containerd_socket), "--namespace", NAMESPACE]

    def empty(self) -> None:
        """Kill and remove every container, and stop.

        A containerd that died left its containers running, so it is started again for this.
        """
        tasks = self.state / "state" / "io.containerd.runtime.v2.task" / NAMESPACE
        if not self.processes.alive(PART):
            if not tasks.exists() or not any(tasks.iterdir()):
                return
            self._run()
        for task in self._list("tasks"):
            succeeds([*self.ctr(), "tasks", "kill", "--all", "--signal", "SIGKILL", task])
        wait_until(self._tasks_removed, "all containers to end", 30)
        for container in self._list("containers"):
            run([*self.ctr(), "containers", "remove", container])
            self._remove_network_results(container)
        self.processes.stop([PART])
        shutil.rmtree(self._addresses, ignore_errors=True)

    @staticmethod
    def _remove_network_results(container: str) -> None:
        """Remove what the network plugins noted about a container, in a folder of the machine."""
        for result in Path("/var/lib/cni/results").glob(f"*-{container}-*"):
            result.unlink()

    @property
    def _addresses(self) -> Path:
        return self.layout.root / "cni-addresses"

    def _run(self) -> None:
        config = self.layout.config / "containerd.toml"
        self.processes.start(PART, ["containerd", "--config", config, "--log-level", "info"])
        version = [*self.ctr(), "version"]
        self.processes.wait_ready(PART, lambda: succeeds(version), READY_SECONDS)

    def _list(self, kind: str) -> list[str]:
        return run([*self.ctr(), kind, "list", "--quiet"]).split()

    def _tasks_removed(self) -> bool:
        """Remove the tasks that have ended; true when none is left."""
        for task in self._list("tasks"):
            try:
                run([*self.ctr(), "tasks", "delete", "--force", task])
            except CommandFailedError:
                return False  # not exited yet, or already deleted: the next poll shows it
        return not self._list("tasks")
