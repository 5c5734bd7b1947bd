"""A local Kubernetes cluster: what tests and the demo use, and the command line too.

    with Cluster("my-test", Profile.CONTROL_PLANE) as cluster:
        cluster.add_fake_nodes(50)
        cluster.kubectl("apply", "-f", "-", text=manifest)

Start here; `control_plane`, `node` and `fake_nodes` are the parts, `settings` is the memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mistral_dev import audit, certificates, exposure, fake_nodes, network, packages, pause, tools
from mistral_dev.commands import run
from mistral_dev.containerd import NAMESPACE, Containerd
from mistral_dev.control_plane import PARTS, ControlPlane
from mistral_dev.errors import UsageError
from mistral_dev.fake_nodes import FakeNodes, Kwok
from mistral_dev.kubectl import Kubectl
from mistral_dev.node import PARTS as NODE_PARTS
from mistral_dev.node import Node
from mistral_dev.paths import Layout, clusters_dir, locked
from mistral_dev.processes import Processes
from mistral_dev.progress import Progress
from mistral_dev.settings import Profile, Settings, allocate, checked_name

_CONTROL_PLANE_TOOLS = (*PARTS, "kubectl", "kwok")


class Cluster:
    """One cluster, running or not. `up` starts it.

    Args:
        name: identifies the state directory, the network namespace and the control group.
        profile: the parts of the cluster; the default is the saved profile, otherwise a node.
        state_dir: directory of all files; the default is `clusters_dir() / name`.
        audit: enable the API server's audit log; read it with `audit_events`.
        progress: receives progress lines; the default is standard error.

    Raises:
        UsageError: the name is invalid, or the cluster was created with another profile.
    """

    def __init__(
        self,
        name: str = "dev",
        profile: Profile | str | None = None,
        *,
        state_dir: Path | None = None,
        audit: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.name = checked_name(name)
        self.layout = Layout((state_dir or clusters_dir() / name).absolute())
        settings = Settings.load(self.layout.root)
        saved_profile = settings.profile if settings else None
        self.profile = Profile(profile) if profile else saved_profile or Profile.NODE
        if saved_profile not in (None, self.profile):
            raise UsageError(
                f"The cluster {name} was made with the profile {saved_profile}. Take another name, "
                f"or remove it with `python -m mistral_dev cluster down --wipe --name {name}`."
            )
        self._is_node = self.profile is Profile.NODE
        self.netns = f"msd-{name}" if self._is_node else None
        self.processes = Processes(self.layout, self.netns)
        self._audits = audit
        self._progress = progress or Progress()

    def __enter__(self) -> Self:
        """Start the cluster."""
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the cluster and delete its state."""
        self.down(wipe=True)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; works inside the cluster's namespace and outside."""
        return self.layout.kubeconfig

    @property
    def api_url(self) -> str:
        """The address of the API server on this machine's loopback."""
        return f"https://127.0.0.1:{self._settings().ports.api}"

    def exists(self) -> bool:
        """Return whether the cluster exists: it was started and not wiped since."""
        return Settings.load(self.layout.root) is not None

    def up(self) -> None:
        """Start what does not run, and wait until all of it is healthy.

        Takes 5 s for a control plane and 10 s for a node, once the programs are built.
        What was started is stopped again when a part fails.

        Raises:
            MissingRequirementError: the machine lacks a program or a right.
            ComponentFailedError: a part failed; its log is quoted.
        """
        packages.require_root(node=self._is_node)
        required = packages.NODE_PACKAGES if self._is_node else packages.CONTROL_PLANE_PACKAGES
        packages.ensure(required, self._progress)
        tools.ensure(tools.CLUSTER_TOOLS if self._is_node else _CONTROL_PLANE_TOOLS, self._progress)
        with self._lock():
            self._check_presence()
            try:
                self._start_control_plane()
                if self._is_node:
                    self._start_node()
                else:
                    self._kwok().start(tools.program("kwok"))
            except BaseException:
                self._stop()
                raise

    def down(self, *, wipe: bool = False) -> None:
        """Stop the cluster: no process, container, mount, namespace or group of it is left.

        Args:
            wipe: also delete its state, images included.
        """
        if self.layout.root.exists():
            packages.require_root(node=self._is_node)
            with self._lock() as lock, self._progress.step(f"stopping {self.name}"):
                self._stop()
                if wipe:
                    shutil.rmtree(self.layout.root)
                    lock.unlink()

    def revive(self) -> None:
        """Start the parts of the control plane that have ended, at their old addresses."""
        self._control_plane().start()

    def is_up(self) -> bool:
        """Return whether every part runs and the API server and the node, if any, are ready."""
        parts = (*PARTS, *NODE_PARTS, *exposure.PARTS) if self._is_node else PARTS
        if not all(map(self.processes.alive, parts)) or not self._control_plane().api_ready():
            return False
        return not self._is_node or self._node().ready()

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as administrator and return what it printed; see `Kubectl`."""
        return self._kubectl()(*arguments, text=text)

    def run_inside(
        self, argv: Sequence[str | Path], *, text: str | None = None, seconds: float = 300
    ) -> str:
        """Run a program where pods and services can be reached, and return what it printed.

        Args:
            argv: the program and its arguments; kubectl, helm and ctr know this cluster.
            text: what it reads from standard input.
            seconds: it is killed when it takes longer.
        """
        tools.ensure({str(argv[0])} & {*tools.ALL_TOOLS}, self._progress)
        return run(self.inside(argv), env=self.environment(), text=text, seconds=seconds)

    def inside(self, argv: Sequence[str | Path]) -> list[str]:
        """Return the command that runs `argv` in the cluster's network namespace."""
        return self.processes.inside(argv)

    def environment(self) -> dict[str, str]:
        """Return the variables with which programs find this cluster."""
        path = os.pathsep.join((tools.search_path(), os.environ.get("PATH", os.defpath)))
        variables = {"KUBECONFIG": str(self.kubeconfig), "PATH": path}
        if self._is_node:
            variables["CONTAINERD_ADDRESS"] = str(self.layout.containerd_socket)
            variables["CONTAINERD_NAMESPACE"] = NAMESPACE
        return variables

    def import_image(self, archive: Path) -> None:
        """Give the node an image from an OCI archive, unless it has that very file already."""
        self._require_node()
        with self._progress.step(f"importing {archive.name}"):
            self._containerd().import_image(archive)

    def patch_gpus(self, count: int) -> None:
        """Set the node's `nvidia.com/gpu` capacity for the scheduler, now and at every start."""
        self._require_node()
        replace(self._settings(), gpus=count).save(self.layout.root)
        self._node().set_gpus(count)

    def add_fake_nodes(
        self, count: int, *, gpus: int = 8, cpu: int = 64, memory: str = "512Gi"
    ) -> list[str]:
        """Make sure that fake nodes `fake-0` to `fake-<count - 1>` exist and are ready.

        Beside a real node they are tainted, and after a restart this has to be called again.

        Args:
            count: how many nodes there should be; more than that are left alone.
            gpus: GPUs of each.
            cpu: cores of each.
            memory: of each, as a Kubernetes quantity.

        Returns:
            Their names.
        """
        nodes = FakeNodes(count, gpus, cpu, memory, tainted=self._is_node)
        kwok = self._kwok()
        kwok.start(tools.program("kwok"))
        kwok.add(nodes)
        return nodes.names()

    def audit_events(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the API server's audit events, oldest first.

        Args:
            start: skip the log up to this `audit_position`.
        """
        return audit.events(self.layout.audit_log, start)

    def audit_position(self) -> int:
        """Return the present end of the audit log, in bytes."""
        return self.layout.audit_log.stat().st_size

    def _settings(self) -> Settings:
        settings = Settings.load(self.layout.root)
        if settings is None:
            raise UsageError(
                f"There is no cluster {self.name}. Start it with `python -m mistral_dev "
                f"cluster up --profile {self.profile} --name {self.name}`."
            )
        return settings

    def _control_plane(self) -> ControlPlane:
        return ControlPlane(self.layout, self.processes, self._settings().ports, self._audits)

    def _containerd(self) -> Containerd:
        return Containerd(self.layout, self.processes, f"msd-{self.name}")

    def _kubectl(self) -> Kubectl:
        return Kubectl(tools.program("kubectl"), self.kubeconfig)

    def _node(self) -> Node:
        group = f"msd-{self.name}"
        return Node(self.layout, self.processes, self._containerd(), self._kubectl(), group)

    def _lock(self) -> AbstractContextManager[Path]:
        return locked(self.layout.root.with_name(f".{self.layout.root.name}.lock"))

    def _start_control_plane(self) -> None:
        running = self.processes.alive("kube-apiserver")
        self.layout.create()
        settings = allocate(self.layout.root, self.profile, running=running)
        with self._progress.step("control plane"):
            certificates.create(self.layout.pki)
            certificates.write_kubeconfigs(self.layout.pki, settings.ports.api)
            if self.netns:
                network.create(self.netns, self.layout)
                exposure.start(self.processes, settings.ports.api)
            self._control_plane().start()

    def _start_node(self) -> None:
        node = self._node()
        archive = pause.build(self._progress)
        with self._progress.step("node"):
            node.start(archive)
            gpus = self._settings().gpus
            if gpus is not None:
                node.set_gpus(gpus)

    def _kwok(self) -> Kwok:
        return Kwok(self.processes, self._kubectl(), self._settings().ports.kwok)

    def _stop(self) -> None:
        """Stop from the outside in: each part can still reach what it depends on."""
        exposure.stop(self.processes)
        if self._is_node:
            self._node().stop()
        self.processes.stop([fake_nodes.PART, "kube-scheduler", "kube-controller-manager"])
        self.processes.stop(["kube-apiserver"], seconds=60)
        self.processes.stop(["etcd"])
        # What others started in the cluster's network, such as a Prometheus.
        self.processes.stop(self.processes.running())
        if self.netns:
            network.delete(self.netns, self.layout)

    def _check_presence(self) -> None:
        """Check that running parts match the requested cluster."""
        if self.netns:
            network.check_owner(self.netns, self.layout)
        running = self.processes.alive("kube-apiserver")
        if running and self._audits and not self.layout.audit_log.exists():
            raise UsageError(f"The cluster {self.name} runs without audit log: stop it first.")

    def _require_node(self) -> None:
        if not self._is_node:
            raise UsageError(f"The cluster {self.name} has no real node: use the profile node.")
