"""Build the programs of clusters, monitoring and autoscaling from the Go modules in `dev/tools`.

Called by `Cluster.up` and `mistral_dev tools build`; `ensure(["helm"])` builds one program.
A program is at `<cache>/tools/<tool set>-<version>-<key>/<program>`. The key covers the module's
files and the flags: a change of either causes a rebuild, and an older checkout still uses its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.errors import MissingRequirementError, UsageError
from mistral_dev.paths import CHECKOUT_DEV, cache_dir, locked
from mistral_dev.progress import Progress

BUILD_SECONDS = 3600.0
"""For one program: kwok took 183 s and kube-apiserver 209 s from nothing on two cores."""

BUILD_FLAGS = ("-trimpath", "-buildvcs=false")
"""Leave out the machine's paths and the checkout's revision: equal sources give equal bytes."""

_GO_SETTINGS = {"GOWORK": "off", "GOFLAGS": ""}
"""The user's own would change the result."""


@dataclass(frozen=True)
class Toolset:
    """Programs that are built from one Go module.

    Separate, because helm and kwok need different versions of the Kubernetes libraries.

    Args:
        name: the folder in `dev/tools`.
        module: the module whose version is in its go.mod.
        packages: the Go package of each program.
        tags: build tags, which exclude unused code.
    """

    name: str
    module: str
    packages: dict[str, str]
    tags: str = ""

    @property
    def source(self) -> Path:
        """The folder with go.mod and go.sum."""
        return CHECKOUT_DEV / "tools" / self.name

    def version(self) -> str:
        """Return the version that go.mod pins, such as `v1.35.4`."""
        return module_version((self.source / "go.mod").read_text(), self.module)

    def build_flags(self) -> tuple[str, ...]:
        """Return the flags of `go build` that decide the bytes of a program, but the linker's."""
        return (*BUILD_FLAGS, "-tags", self.tags) if self.tags else BUILD_FLAGS

    def linker_flags(self) -> str:
        """Return the flags that strip a program and, for Kubernetes, set its version.

        Without them every Kubernetes program reports v0.0.0-master, which clients treat as a very
        old version.
        """
        if self.name != "kubernetes":
            return "-s -w"
        major, minor, _ = self.version().removeprefix("v").split(".")
        values = {
            "gitVersion": self.version(),
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": "unknown",
        }
        defined = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in values.items())
        return f"-s -w {defined}"

    def key(self) -> str:
        """Return 8 hexadecimal digits over everything that decides the bytes of a program."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.source / name).read_bytes())
        digest.update(" ".join((*self.build_flags(), self.linker_flags())).encode())
        return digest.hexdigest()[:8]

    def folder(self) -> Path:
        """Return the folder in the cache that holds the programs."""
        return cache_dir() / "tools" / f"{self.name}-{self.version()}-{self.key()}"


_KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kube-proxy",
)

_PROMETHEUS = "github.com/prometheus/prometheus"

_KEDA = "github.com/kedacore/keda/v2"

TOOLSETS = (
    Toolset("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Toolset(
        "kubernetes",
        "k8s.io/kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
    ),
    Toolset("helm", "helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"}),
    Toolset("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Toolset(
        "prometheus",
        _PROMETHEUS,
        {name: f"{_PROMETHEUS}/cmd/{name}" for name in ("prometheus", "promtool")},
        # Targets are named in the configuration: the clouds' libraries are 30 % of the packages.
        tags="remove_all_sd",
    ),
    Toolset(
        "keda",
        _KEDA,
        {"keda-operator": f"{_KEDA}/cmd/operator", "keda-adapter": f"{_KEDA}/cmd/adapter"},
    ),
)
"""All programs, in the order in which they are built."""

ALL_TOOLS = tuple(name for toolset in TOOLSETS for name in toolset.packages)
"""The names of all programs."""

CLUSTER_TOOLS = tuple(
    name
    for toolset in TOOLSETS
    if toolset.name not in {"prometheus", "keda"}
    for name in toolset.packages
)
"""Those of a cluster and its demo; Prometheus and KEDA are for tests of what works with them."""


def module_version(go_mod: str, module: str) -> str:
    """Return the version of a module that a go.mod requires."""
    match = re.search(rf"^(?:require)?\s*{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise UsageError(f"go.mod does not require {module}: add it with `go get -tool`.")
    return match[1]


def go_version() -> str:
    """Return the newest Go version that a module requires, such as `1.26`."""
    matches = [
        re.search(r"^go (\S+)", (toolset.source / "go.mod").read_text(), re.MULTILINE)
        for toolset in TOOLSETS
    ]
    return max(
        (match[1] for match in matches if match),
        key=lambda version: [int(part) for part in version.split(".")],
    )


def program(name: str) -> Path:
    """Return the path of a program, without building it.

    Raises:
        UsageError: there is no such program.
    """
    for toolset in TOOLSETS:
        if name in toolset.packages:
            return toolset.folder() / name
    raise UsageError(f"No tool is called {name}: there are {', '.join(ALL_TOOLS)}.")


def sources(name: str) -> Path:
    """Return the module that a tool set is built from, in Go's cache, fetched when it is not there.

    Raises:
        MissingRequirementError: there is no Go to fetch it with.
        CommandFailedError: it could not be fetched.
    """
    _check_go()
    toolset = next(one for one in TOOLSETS if one.name == name)
    module = f"{toolset.module}@{toolset.version()}"
    module_info = run(
        ["go", "mod", "download", "-json", module], cwd=toolset.source, env=_GO_SETTINGS
    )
    return Path(json.loads(module_info)["Dir"])


def search_path() -> str:
    """Return the folders of all programs, built or not, as a PATH."""
    return os.pathsep.join(str(toolset.folder()) for toolset in TOOLSETS)


def ensure(names: Iterable[str] = ALL_TOOLS, progress: Progress | None = None) -> dict[str, Path]:
    """Return the path of each program, building those that the cache lacks.

    Args:
        names: programs; all of them when left out.
        progress: gets one line per program that is built.

    Raises:
        MissingRequirementError: there is no Go to build with.
        CommandFailedError: a build failed; the compiler is quoted.
        UsageError: there is no such program.
    """
    paths = {name: program(name) for name in names}
    if not all(path.exists() for path in paths.values()):
        _build_missing(paths, progress or Progress())
    return paths


def cached_line(name: str) -> str:
    """Return the progress line for a cached program."""
    return f"{name:<24} cached {_megabytes(program(name)):5d} MB"


def _build_missing(paths: dict[str, Path], progress: Progress) -> None:
    """Build what is missing, one program after the other, and alone on this cache."""
    _check_go()
    with locked(cache_dir() / "tools" / ".lock"):
        for toolset in TOOLSETS:
            for name in toolset.packages:
                if name not in paths:
                    continue
                # Check again under the lock: the previous holder may have built it.
                if paths[name].exists():
                    progress.line(cached_line(name))
                else:
                    _build(toolset, name, progress)


def _build(toolset: Toolset, name: str, progress: Progress) -> None:
    """Build one program beside its place and move it there when it is whole."""
    target = toolset.folder() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{name}.{os.getpid()}")
    command = ["go", "build", *toolset.build_flags(), "-ldflags", toolset.linker_flags()]
    started = time.monotonic()
    try:
        run(
            [*command, "-o", temporary, toolset.packages[name]],
            cwd=toolset.source,
            env=_GO_SETTINGS,
            seconds=BUILD_SECONDS,
        )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    progress.line(f"{name:<24} {time.monotonic() - started:4.0f} s {_megabytes(target):5d} MB")


def _check_go() -> None:
    if shutil.which("go") is None:
        raise MissingRequirementError(
            f"The cluster's programs are built with Go, and there is no `go` in PATH. "
            f"Install Go {go_version()} or newer from https://go.dev/dl/."
        )


def _megabytes(path: Path) -> int:
    return round(path.stat().st_size / 1e6)
