"""An operator as a process of its own, against the API server of a test's cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from server_runner import free_port

START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass
class OperatorProcess:
    """One `mistral-operator run`; its log is kept for failing tests."""

    cluster: Cluster
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """Variables besides its settings."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        settings = {
            "NAMESPACE": "default",
            "IDENTITY": f"operator-{self.port}",
            "PORT": str(self.port),
            "URL": f"http://127.0.0.1:{self.port}",
            "LEADER_ELECTION": "false",
            "SIGNAL_SECONDS": "0",  # fake pods say nothing
            "SERVER_IMAGE": "example.com/server:test",
            **self.settings,
        }
        environment = {
            **os.environ,
            **{f"MISTRAL_OPERATOR_{name}": value for name, value in settings.items()},
            "KUBECONFIG": str(self.cluster.kubeconfig),
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mistral_operator", "run"],
                env=environment,
                stdout=log,
                stderr=log,
                # When the command that started the tests ends, the kernel continues what is stopped
                # in its process group: a frozen leader would go on in the middle of a round.
                start_new_session=True,
            )

    def until_acting(self) -> None:
        """Wait until it has listed everything and reconciles."""
        wait_until(
            lambda: self.metric("mistral_operator_last_resync_timestamp_seconds") > 0,
            f"the operator to act; its log is {self.log}",
            START_SECONDS,
        )

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels; 0 while the operator does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (URLError, OSError):
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if _is_sample(line, name))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        self.process = None
        return code


def _is_sample(line: str, name: str) -> bool:
    return line.startswith((f"{name} ", f"{name}{{"))


@contextmanager
def running_operator(cluster: Cluster, log: Path, **settings: str) -> Iterator[OperatorProcess]:
    """Start an operator and stop it at the end of the block."""
    operator = OperatorProcess(cluster, log, settings)
    operator.start()
    try:
        operator.until_acting()
        yield operator
    finally:
        if operator.process is not None:
            operator.stop(signal.SIGKILL)
