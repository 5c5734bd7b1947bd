"""Run ``mistral-server`` as a process of its own, for tests of what it does to other processes.

``fake_site`` makes a directory in which the supervisor finds a vLLM: the fake engine. Tests against
the real engine use the same `RunningServer` with another interpreter and environment.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mistral_dev.settings import free_ports
from mistral_server.contract import (
    SERVER_SETTINGS_ENV,
    EngineSettings,
    LifecycleSettings,
    ModelSettings,
    ServerSettings,
    TerminationReport,
)

SERVER_SOURCE = Path(__file__).parents[2] / "server" / "src"
TAG = "MISTRAL_TEST_RUN"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    return free_ports(1)[0]


def own_place(directory: Path) -> dict[str, Any]:
    """Return the settings that keep a server to loopback, free ports and `directory`."""
    port, health_port = free_ports(2)
    return {
        "device": "cpu",
        "host": "127.0.0.1",
        "port": port,
        "health_port": health_port,
        "termination_log": str(directory / "termination-log"),
    }


def server_settings(directory: Path, **changes: Any) -> ServerSettings:
    """Return settings for a server below `directory`, with free ports and short times."""
    model = directory / "model"
    model.mkdir(exist_ok=True)
    (model / "params.json").write_text("{}")
    values = {
        **own_place(directory),
        "model": ModelSettings(path=str(model), served_name="tiny", id="t", random_weights=True),
        "engine": EngineSettings(tensor_parallel_size=1),
        "lifecycle": LifecycleSettings(
            startup_seconds=30, drain_seconds=20, endpoint_removal_seconds=0
        ),
    }
    return ServerSettings.model_validate(values | changes)


def fake_site(directory: Path, vllm: str = "0.32.0", mistral_common: str = "1.12.0") -> Path:
    """Make a directory for PYTHONPATH that holds the fake engine under vLLM's name."""
    site = directory / "site"
    program = site / "vllm" / "entrypoints" / "cli" / "main.py"
    program.parent.mkdir(parents=True)
    for package in (program.parents[2], program.parents[1], program.parent):
        (package / "__init__.py").touch()  # a package beats an installed vLLM, a folder does not
    shutil.copy(Path(__file__).with_name("server_fake_engine.py"), program)
    for name, version in (("vllm", vllm), ("mistral_common", mistral_common)):
        metadata = site / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return site


def fake_environment(directory: Path, behavior: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a server whose engine is the fake."""
    site = directory / "site"
    if not site.exists():
        fake_site(directory)
    return {
        **os.environ,
        "PYTHONPATH": f"{site}{os.pathsep}{SERVER_SOURCE}",
        "FAKE_ENGINE": json.dumps(behavior),
    }


@dataclass
class RunningServer:
    """A started ``mistral-server run``."""

    process: subprocess.Popen[bytes]
    settings: ServerSettings
    output: Path
    errors: Path
    tag: str = field(repr=False)
    _sessions: set[int] = field(default_factory=set)

    def get(self, path: str, *, health: bool = True) -> tuple[int, str]:
        """Return status and body of a page of the health port or of the API; 0 if refused."""
        port = self.settings.health_port if health else self.settings.port
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for `condition`; fail with the server's own words if it does not come about."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.05)

    def until_ready(self, seconds: float = 20) -> None:
        """Wait until the server is ready; fail at once if it ends."""

        def ready() -> bool:
            assert self.process.poll() is None, self.words()
            return self.get("/readyz")[0] == 200

        self.until(ready, seconds)

    def wait(self, seconds: float = 20) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s: {self.words()}") from None

    def stop(self) -> None:
        """Send SIGTERM to the server."""
        self.process.send_signal(signal.SIGTERM)

    def report(self) -> TerminationReport:
        """Return the termination report."""
        return TerminationReport.model_validate_json(
            Path(self.settings.termination_log).read_bytes()
        )

    def processes(self) -> dict[int, str]:
        """Return number and command line of every process of this run, wherever it went.

        Those are the processes that inherited this run's tag, and those that share a session with
        one that leads it: vLLM's processes overwrite their environment with their title.
        """
        entries = list(_living())
        self._sessions |= {
            session for pid, session, entry in entries if session == pid and self._is_tagged(entry)
        }
        # Numbers start again after the largest: a leader may come after those whom it leads.
        return {
            pid: _words(entry)
            for pid, session, entry in entries
            if (session in self._sessions or self._is_tagged(entry)) and _words(entry)
        }

    def _is_tagged(self, entry: Path) -> bool:
        return f"{TAG}={self.tag}".encode() in _content(entry / "environ")

    def pid_of(self, part: str) -> int:
        """Return the only process whose program and first arguments hold `part`."""
        (pid,) = [
            pid
            for pid, words in self.processes().items()
            if part in " ".join(words.split(" ")[:3])  # the launcher's go on with the engine's
        ]
        return pid

    def shared_memory(self) -> set[Path]:
        """Return the files in /dev/shm that this run's processes have mapped."""
        lines: list[str] = []
        for pid in self.processes():
            lines += Path(f"/proc/{pid}/maps").read_text().splitlines()
        return {Path(line.split()[-1]) for line in lines if " /dev/shm/" in line}

    def stream(
        self, tokens: int, path: str = "/v1/chat/completions", **more: Any
    ) -> Iterator[bytes]:
        """Start a streamed chat and yield its lines."""
        body = {
            "model": self.settings.model.served_name,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "max_tokens": tokens,
            **more,
        }
        request = Request(
            f"http://127.0.0.1:{self.settings.port}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback address
            yield from (line.strip() for line in answer if line.strip())

    def words(self) -> str:
        """Return the end of the output of the server and its engine."""
        return (
            f"{self.errors.read_text()[-3000:]}\n{self.output.read_text(errors='replace')[-3000:]}"
        )


@contextmanager
def streaming(server: RunningServer, **more: Any) -> Iterator[None]:
    """Stream one chat after the other until the block ends: none lasts as long as a slow poll."""
    over = threading.Event()

    def chat_on() -> set[bytes]:
        ends = set()
        while not over.is_set():
            *_, last = server.stream(1900, **more)
            ends.add(last)
        return ends

    with ThreadPoolExecutor() as clients:
        client = clients.submit(chat_on)
        try:
            yield
        finally:
            over.set()
    assert client.result() == {b"data: [DONE]"}


@contextmanager
def running(
    settings: ServerSettings,
    environment: Mapping[str, str],
    directory: Path,
    python: str = sys.executable,
    program: str = "mistral_server",
) -> Iterator[RunningServer]:
    """Run a server for the length of the block, and leave no process of it behind."""
    tag = uuid.uuid4().hex
    output, errors = directory / "stdout", directory / "stderr"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [python, "-m", program, "run"],
            env={**environment, SERVER_SETTINGS_ENV: settings.model_dump_json(), TAG: tag},
            stdout=out,
            stderr=err,
        )
    server = RunningServer(process, settings, output, errors, tag)
    try:
        yield server
    finally:
        process.kill()
        process.wait(10)
        deadline = time.monotonic() + 5  # the launcher kills the rest and tidies /dev/shm up
        while server.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in server.processes():
            os.kill(pid, signal.SIGKILL)


def _living() -> Iterator[tuple[int, int, Path]]:
    """Yield number, session and directory of every process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), os.getsid(int(entry.name)), entry


def _words(entry: Path) -> str:
    """Return a command line; a zombie, or a process that is gone, has none."""
    return _content(entry / "cmdline").replace(b"\0", b" ").decode().strip()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
