"""Find the distribution's packages that a cluster needs, and install what is missing.

Called first thing when a cluster comes up and when the pause image is built.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mistral_dev.commands import run
from mistral_dev.errors import MissingRequirementError
from mistral_dev.progress import Progress

CNI_PLUGINS = Path("/usr/lib/cni")
"""Where Debian and Ubuntu put the network plugins that containerd calls."""

CONTROL_PLANE_PACKAGES: Mapping[str, str] = {"openssl": "openssl", "curl": "curl"}
"""Package to a program of it, for a control plane alone."""

NODE_PACKAGES: Mapping[str, str] = {
    **CONTROL_PLANE_PACKAGES,
    "containerd": "ctr",
    "runc": "runc",
    "containernetworking-plugins": str(CNI_PLUGINS / "bridge"),
    "iptables": "iptables",
    "nftables": "nft",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "socat": "socat",
    "ipset": "ipset",
}
"""Package to a program of it, for a node."""

PAUSE_PACKAGES: Mapping[str, str] = {
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdlib.h",
}
"""Package to a file of it, for the pause image: a static C program."""


def require_root(*, node: bool) -> None:
    """Refuse to go on without the rights that a cluster takes.

    Args:
        node: it has a real node.

    Raises:
        MissingRequirementError: this process does not run as root and has to.
    """
    if node and os.geteuid() != 0:
        raise MissingRequirementError(
            "A real node needs root: containers, a network namespace and control groups. "
            "Run this as root, or take `--profile control-plane`, which needs no rights."
        )


def missing(packages: Mapping[str, str]) -> list[str]:
    """Return the packages whose program is not on this machine."""
    return [name for name, program in packages.items() if not _present(program)]


def ensure(packages: Mapping[str, str], progress: Progress) -> None:
    """Install the packages that are missing, as root on a machine with apt.

    Raises:
        MissingRequirementError: they cannot be installed from here; names the command.
    """
    required = missing(packages)
    if not required:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingRequirementError(
            f"These packages are missing: {', '.join(required)}. Install them with\n"
            f"  {advice(required)}"
        )
    with progress.step(f"installing {' '.join(required)}"):
        run(["apt-get", "update"])
        run(
            ["apt-get", "install", "-y", "--no-install-recommends", *required],
            env={"DEBIAN_FRONTEND": "noninteractive"},
            seconds=900,
        )
    if remaining := missing(packages):
        raise MissingRequirementError(
            f"apt-get installed {', '.join(remaining)}, but their programs are still not found: "
            f"{', '.join(packages[name] for name in remaining)}. Look at PATH."
        )


def advice(packages: Iterable[str]) -> str:
    """Return the command that installs packages on Debian and Ubuntu."""
    return f"sudo apt-get install -y --no-install-recommends {' '.join(packages)}"


def _present(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
