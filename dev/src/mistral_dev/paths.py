"""Paths of the development tools; all other modules use them.

Nothing is kept in the checkout. The cache is `$MISTRAL_DEV_CACHE`, or else
`mistral-small-operator` in the user's cache directory; clusters live in its `clusters` folder,
or in `$MISTRAL_DEV_STATE`, one folder per name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT_DEV = Path(__file__).resolve().parents[2]
"""The `dev` folder of the checkout, which holds the Go modules of the tools."""

CHECKOUT = CHECKOUT_DEV.parent
"""The checkout itself."""


def cache_dir() -> Path:
    """Return the cache directory of the project, which need not exist yet."""
    override = os.environ.get("MISTRAL_DEV_CACHE")
    if override:
        return Path(override).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "mistral-small-operator"


def clusters_dir() -> Path:
    """Return the folder that holds one state directory per cluster."""
    override = os.environ.get("MISTRAL_DEV_STATE")
    return Path(override).expanduser().absolute() if override else cache_dir() / "clusters"


@dataclass(frozen=True)
class Layout:
    """The folders inside one cluster's state directory."""

    root: Path

    @property
    def pki(self) -> Path:
        """Keys, certificates and kubeconfigs."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log per component, and the audit log."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Process files, sockets and markers."""
        return self.root / "run"

    @property
    def config(self) -> Path:
        """Rendered configuration files."""
        return self.root / "config"

    @property
    def etcd(self) -> Path:
        """The database."""
        return self.root / "etcd"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.pki / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON document a line."""
        return self.logs / "audit.jsonl"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens, for kubelet and `ctr`."""
        return self.run / "containerd.sock"

    @property
    def api_socket(self) -> Path:
        """The socket that joins the API server in its namespace to the loopback outside."""
        return self.run / "api.sock"

    def create(self) -> None:
        """Make the folders; the database and the keys are for the owner only."""
        for folder in (self.pki, self.logs, self.run, self.config, self.etcd):
            folder.mkdir(parents=True, exist_ok=True)
        self.etcd.chmod(0o700)
        self.pki.chmod(0o700)


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Acquire an exclusive lock on a file, which is created if missing.

    The kernel releases the lock when its holder exits, so a killed run blocks no other. The holder
    may delete the file when it is no longer needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The holder before may have deleted the file that this one waited for.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield path
                return


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old text or the new one, never a partial one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
