"""What a cluster remembers between two starts: profile, ports, GPUs; kept by `cluster`.

The file is `cluster.json` in the state directory.
"""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from mistral_dev.errors import DevError, UsageError
from mistral_dev.paths import locked, write_atomically

LOWEST_PORT, HIGHEST_PORT = 20_000, 32_767
"""Below the range that Linux takes for outgoing connections (32768 on), which would otherwise
take a port away while its owner restarts."""

_FILE = "cluster.json"


_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")


def checked_name(name: str) -> str:
    """Return the name of a cluster if it can be one.

    Raises:
        UsageError: it cannot; it becomes part of file names and kernel names.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no name for a cluster: use at most 30 lower case letters, digits and "
            f"hyphens, with no hyphen at either end."
        )
    return name


class Profile(StrEnum):
    """What a cluster consists of."""

    NODE = "node"
    """Control plane and one real node, in a network namespace. Needs root."""
    CONTROL_PLANE = "control-plane"
    """Control plane and fake nodes, on this machine's loopback. Needs no rights."""


@dataclass(frozen=True)
class Ports:
    """The ports of the control plane, all on loopback."""

    api: int
    etcd_client: int = 2379
    etcd_peer: int = 2380
    etcd_metrics: int = 2381
    controller_manager: int = 10257
    scheduler: int = 10259
    kwok: int = 10247

    @classmethod
    def for_profile(cls, profile: Profile, taken: Iterable[int]) -> Self:
        """Choose ports: one for a node cluster, whose other ports are its namespace's, else all."""
        if profile is Profile.NODE:
            return cls(*free_ports(1, taken))
        return cls(*free_ports(7, taken))

    def outside(self, profile: Profile) -> list[int]:
        """Return the ports that this cluster takes on the machine's own loopback."""
        return [self.api] if profile is Profile.NODE else list(asdict(self).values())


@dataclass(frozen=True)
class Settings:
    """The saved settings of one cluster.

    Args:
        profile: the parts of the cluster.
        ports: the ports that it listens on.
        gpus: number of GPUs of the real node, or None if not set.
    """

    profile: Profile
    ports: Ports
    gpus: int | None = None

    @classmethod
    def load(cls, root: Path) -> Self | None:
        """Read the memory of a cluster, or return None when it has none."""
        try:
            text = (root / _FILE).read_text()
        except FileNotFoundError:
            return None
        try:
            read = json.loads(text)
            return cls(Profile(read["profile"]), Ports(**read["ports"]), read["gpus"])
        except (KeyError, TypeError, ValueError) as error:
            raise DevError(
                f"{root / _FILE} is not what this version writes ({error!r}). "
                f"Stop that cluster with the version that made it, or remove {root}."
            ) from error

    def save(self, root: Path) -> None:
        """Save the settings of a cluster."""
        write_atomically(root / _FILE, json.dumps(asdict(self), indent=1) + "\n")


def allocate(root: Path, profile: Profile, *, running: bool) -> Settings:
    """Return a cluster's settings with free ports, and save them.

    Saved ports are kept unless another process listens on them. The lock prevents clusters that
    start at the same time from choosing the same ports.

    Args:
        root: the cluster's state directory.
        profile: the parts of the cluster.
        running: the cluster itself listens on its ports, so they are not checked.
    """
    with locked(root.parent / ".ports.lock"):
        saved = Settings.load(root)
        if saved and (running or all(map(is_free, saved.ports.outside(profile)))):
            return saved
        taken = _ports_of_others(root)
        ports = Ports.for_profile(profile, taken)
        settings = replace(saved, ports=ports) if saved else Settings(profile, ports)
        settings.save(root)
        return settings


def free_ports(count: int, taken: Iterable[int] = ()) -> list[int]:
    """Return distinct free loopback ports.

    Args:
        count: number of ports.
        taken: reserved ports, which may have no listener now.
    """
    avoided = set(taken)
    chosen: list[int] = []
    with ExitStack() as held:
        while len(chosen) < count:
            port = random.randint(LOWEST_PORT, HIGHEST_PORT)  # noqa: S311 - no secret
            if port in avoided or port in chosen:
                continue
            candidate = held.enter_context(socket.socket())
            if _bind(candidate, port):
                chosen.append(port)
    return chosen


def is_free(port: int) -> bool:
    """Return whether a loopback port is free."""
    with socket.socket() as candidate:
        return _bind(candidate, port)


def _bind(candidate: socket.socket, port: int) -> bool:
    # As the servers do: connections of the run before that linger do not make a port taken.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def _ports_of_others(root: Path) -> set[int]:
    """Return the ports of all other clusters in the same folder, running or not."""
    ports: set[int] = set()
    for folder in root.parent.iterdir():
        if not folder.is_dir() or folder == root:
            continue
        try:
            other = Settings.load(folder)
        except DevError:
            # Of another version. Its ports are avoided only while it runs, by trying to bind; that
            # is no reason to refuse a start here.
            continue
        if other:
            ports.update(other.ports.outside(other.profile))
    return ports
