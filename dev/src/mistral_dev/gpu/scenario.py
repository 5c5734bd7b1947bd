"""A scenario: servers to start and parts to run, each a line of the table.

The parts are functions of a `ScenarioContext`: the machine, the servers, and their findings.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mistral_dev.gpu.findings import Findings
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.server import ApiResponse, Server


class ServerGoneError(Exception):
    """A part requires a server that is not running."""


@dataclass
class ScenarioContext:
    """The state that the parts of one scenario share."""

    rig: Rig
    gpus: tuple[int, ...]
    servers: list[Server] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    client_counts: Counter[str] = field(default_factory=Counter)
    """What the client received, as the gate should have counted it."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def server(self) -> Server:
        """The server that was started last."""
        return self.servers[-1]

    def start(self, plan: Plan, held: bool = False) -> Server:
        """Start a server on the scenario's GPUs."""
        self.servers.append(Server(self.rig, plan, self.gpus, held))
        return self.server

    def only(self, position: int) -> "ScenarioContext":
        """Return this context with one of its servers, for parts that use only one.

        Findings are shared within one part.
        """
        return replace(self, servers=[self.servers[position]])

    def alive(self) -> Server:
        """Return the server.

        Raises:
            ServerGoneError: it has exited.
        """
        if self.server.process.poll() is not None or self.server.ready_seconds is None:
            raise ServerGoneError("the server is not there; see the parts before this one")
        return self.server

    def chat(self, text: str = "Hello", **more: Any) -> ApiResponse:
        """Send a chat, and count its finish reason."""
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 16, **more}
        headers = {"X-Mistral-Loops": body.pop("loops")} if "loops" in body else {}
        response = self.alive().send(body, **headers)
        if response.finish is not None:
            with self._lock:
                self.client_counts[f"generations {response.finish}"] += 1
        return response


Part = Callable[[ScenarioContext], None]


@dataclass(frozen=True)
class Step:
    """One part and the time that it gets."""

    name: str
    part: Part
    limit: float
    least: float = 0.0
    """Seconds that have to be left before the deadline; with fewer it is not begun."""


@dataclass(frozen=True)
class Scenario:
    """Servers and what is done with them.

    Args:
        name: a word.
        priority: the lowest number runs first; a deadline cuts the others.
        seconds: how long it takes; a later start than that before the deadline is not tried.
        plans: the servers to start.
        steps: what is done, in order.
        gpus: how many it needs.
        held: start the servers in advance; not where the time of the start counts.
        on_cpu: whether it can be tried without a GPU.
        alone: no other scenario runs meanwhile, on no GPU: it measures, and they share its cores.
        memory_mib: least memory of a GPU, as nvidia-smi shows it.
        disk_bytes: free space that it needs where the run's files are.
    """

    name: str
    priority: int
    seconds: float
    plans: Callable[[Rig], tuple[Plan, ...]]
    steps: tuple[Step, ...]
    gpus: int = 1
    held: bool = True
    on_cpu: bool = False
    alone: bool = False
    memory_mib: int = 0
    disk_bytes: int = 0

    def lacks(self, rig: Rig) -> str:
        """Return what it needs and a machine does not have, nothing if it can run there."""
        if self.gpus > len(rig.gpus):
            return f"needs {self.gpus} GPUs"
        if rig.device == "cuda" and self.memory_mib > rig.memory_mib:
            return f"needs a GPU of {self.memory_mib:,} MiB"
        if rig.device == "cuda" and self.disk_bytes > shutil.disk_usage(rig.work).free:
            return f"needs {self.disk_bytes / 1e9:.0f} GB of free disk at {rig.work}"
        return ""
