"""A process of ``mistral-server run``: start, requests, kill, and its exit."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mistral_dev.gpu import hold
from mistral_dev.gpu.host_memory import unreclaimable_bytes
from mistral_dev.gpu.log import Log
from mistral_dev.gpu.rig import Plan, Rig
from mistral_operator.kube.quantities import quantity_bytes
from mistral_server.contract import (
    SERVER_SETTINGS_ENV,
    SERVER_TOKEN_ENV,
    ServerSettings,
    TerminationReport,
)
from mistral_server.supervisor import process_tree

_POLL_SECONDS = 0.05

_OWN_SHM = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'


@dataclass(frozen=True)
class ServerExit:
    """How a server exited."""

    code: int | None
    """Exit code, None if it had to be killed."""
    at: float
    report: TerminationReport | None
    processes_left: int


@dataclass
class Server:
    """One run of one server on some GPUs.

    Args:
        rig: the machine.
        plan: what is served.
        gpus: the GPUs that are visible to it.
        held: let it import and then wait for `release` before it opens a GPU.
    """

    rig: Rig
    plan: Plan
    gpus: tuple[int, ...]
    held: bool = False
    settings: ServerSettings = field(init=False)
    log: Log = field(init=False)
    released: float = field(init=False, default=0.0)
    ready_seconds: float | None = field(init=False, default=None)
    memory_peak: int = field(init=False, default=0)
    """Most bytes of the host that its processes took together."""
    _seen: set[int] = field(init=False, default_factory=set)
    _ended: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Start it."""
        self.settings = self.rig.settings(self.plan)
        self._gate = self.rig.work / f"{self.plan.name}.gate"
        environment = self.rig.environment(self.plan, self.gpus)
        environment[SERVER_SETTINGS_ENV] = self.settings.model_dump_json(exclude_defaults=True)
        if self.held:
            environment[hold.VARIABLE] = str(self._gate)
            folder = str(hold.directory(self.rig.work))
            environment["PYTHONPATH"] = f"{folder}{os.pathsep}{environment['PYTHONPATH']}"
        path = self.rig.work / f"{self.plan.name}.log"
        with path.open("wb") as output:
            self.process = subprocess.Popen(
                self._command(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.rig.work,
            )
        self.log = Log(path)
        threading.Thread(target=self._watch, daemon=True).start()
        if not self.held:
            self.released = time.monotonic()

    def _command(self) -> list[str]:
        run = [self.rig.python, "-m", "mistral_server", "run"]
        if not self.plan.own_shm or not _may_mount():
            return run
        # A mount namespace of its own: the machine's /dev/shm stays as it is.
        spec = self.plan.spec
        size = str(quantity_bytes(spec.with_offload(spec.shared_memory)))
        return ["unshare", "--mount", "sh", "-c", _OWN_SHM, size, *run]

    def _watch(self) -> None:
        """Note which processes it starts, their memory, and when it ends, as it happens."""
        while self.process.poll() is None:
            running = process_tree.descendants(self.process.pid)
            self._seen.update(running)
            self.memory_peak = max(self.memory_peak, unreclaimable_bytes(running))
            time.sleep(0.5)
        self._ended = time.monotonic()

    def release(self, seconds: float = 120) -> None:
        """Let a held server go on, once it waits; returns at once if it does not hold."""
        if self.released:
            return
        self.wait_for(lambda: hold.is_waiting(self._gate), seconds)
        self._gate.touch()
        self.released = time.monotonic()

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, the server's end or the time; return the condition."""
        deadline = time.monotonic() + seconds
        while not (holds := condition()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                return condition()
            time.sleep(_POLL_SECONDS)
        return holds

    def wait_until_ready(self, seconds: float) -> bool:
        """Release it and wait until it answered a chat; return whether it did."""
        self.release()
        ready = self.wait_for(lambda: self.get("/readyz")[0] == 200, seconds)
        if ready and self.ready_seconds is None:
            self.ready_seconds = round(time.monotonic() - self.released, 1)
        return ready

    def get(self, path: str, *, health: bool = True) -> tuple[int, str]:
        """Return status and body of a page of the health port or of the API; 0 if refused."""
        port = self.settings.health_port if health else self.settings.port
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def send(
        self,
        body: dict[str, Any],
        path: str = "/v1/chat/completions",
        seconds: float = 90,
        **headers: str,
    ) -> "ApiResponse":
        """Send a request to the API and return the whole answer."""
        request = Request(
            f"http://127.0.0.1:{self.settings.port}{path}",
            json.dumps({"model": self.settings.model.served_name, **body}).encode(),
            {"content-type": "application/json", **headers},
        )
        started = time.monotonic()
        try:
            with urlopen(request, timeout=seconds) as response:  # noqa: S310 - our own loopback address
                response_headers = {name.lower(): value for name, value in response.headers.items()}
                return ApiResponse(
                    response.status,
                    response.read().decode(),
                    time.monotonic() - started,
                    response_headers,
                )
        except HTTPError as error:
            return ApiResponse(error.code, error.read().decode(), time.monotonic() - started, {})
        except (URLError, OSError) as error:
            return ApiResponse(
                0, f"{type(error).__name__}: {error}", time.monotonic() - started, {}
            )

    def token(self) -> str:
        """Return the supervisor's token, by which requests pass the gate untouched."""
        launcher = process_tree.descendants(self.process.pid)[0]
        variables = Path(f"/proc/{launcher}/environ").read_bytes().split(b"\0")
        pairs = dict(variable.partition(b"=")[::2] for variable in variables)
        return pairs[SERVER_TOKEN_ENV.encode()].decode()

    def api_process(self) -> int:
        """Return vLLM's main process, which answers requests and has the gate in it."""
        launcher = process_tree.descendants(self.process.pid)[0]
        return process_tree.descendants(launcher)[0]

    def process_named(self, part: str) -> int:
        """Return the first process of the engine whose title holds `part`.

        Raises:
            LookupError: there is none.
        """
        titles = {pid: _title(pid) for pid in process_tree.descendants(self.process.pid)}
        for pid, title in titles.items():
            if part in title:
                return pid
        raise LookupError(f"no process is called {part}: {titles}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait_or_kill(self, seconds: float = 0) -> ServerExit:
        """Wait for its exit, kill remaining processes after `seconds`, and return the result."""
        self.wait_for(lambda: False, seconds)
        code = self.process.poll()
        ended = self._ended or time.monotonic()
        self._kill()
        remaining = [pid for pid in self._seen if _title(pid)] if code is not None else []
        process_tree.kill(remaining)
        return ServerExit(code, ended, self._report(), len(remaining))

    def _kill(self) -> None:
        """Kill it; its launcher takes the engine down, and we what the launcher leaves."""
        self._seen.update(process_tree.descendants(self.process.pid))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        deadline = time.monotonic() + 5
        while any(_title(pid) for pid in self._seen) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if self.process.returncode == -signal.SIGKILL:
            process_tree.kill([pid for pid in self._seen if _title(pid)])

    def _report(self) -> TerminationReport | None:
        try:
            text = Path(self.settings.termination_log).read_bytes()
            return TerminationReport.model_validate_json(text)
        except (OSError, ValueError):
            return None


def _may_mount() -> bool:
    """Return whether this process may create a mount namespace, as root can on most machines."""
    probe = ["unshare", "--mount", "sh", "-c", _OWN_SHM, "1048576", "true"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


@dataclass(frozen=True)
class ApiResponse:
    """An HTTP response; with status 0 there was none, and the text is the reason."""

    status: int
    text: str
    seconds: float
    headers: dict[str, str]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The documents of a stream, or the one document of an answer that is none."""
        if not self.text.startswith("data:"):
            return [json.loads(self.text)]
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of all events."""
        if self.status != 200:
            return []
        return [choice for event in self.events for choice in event.get("choices") or ()]

    @property
    def finish(self) -> str | None:
        """How the (first) generation ended."""
        return next((c["finish_reason"] for c in self.choices if c.get("finish_reason")), None)

    @property
    def usage(self) -> dict[str, Any]:
        """The tokens of prompt and answer."""
        usages = [event["usage"] for event in self.events if event.get("usage")]
        return usages[-1] if usages else {}


def _title(pid: int) -> str:
    """Return what a process calls itself, nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
