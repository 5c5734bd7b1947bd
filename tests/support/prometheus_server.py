"""A real Prometheus on loopback, and a tiny server with what it scrapes."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from mistral_dev import tools
from mistral_dev.commands import wait_until
from mistral_dev.settings import free_ports

SCRAPE_SECONDS = 1
"""Rates need two scrapes."""
STOP_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """One thing that is scraped."""

    exposition: Callable[[], bytes]
    labels: dict[str, str]
    honor_labels: bool = False


class ExpositionServer(ThreadingHTTPServer):
    """Serves each target's metrics at /<name>; use it as a context manager."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = targets[self.path.strip("/")].exposition()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()


@dataclass
class Prometheus:
    """A Prometheus that scrapes some targets; use it as a context manager."""

    folder: Path
    targets: Mapping[str, Target]
    rules: Path
    scrape_seconds: float = SCRAPE_SECONDS
    """Between two scrapes, and for each: what takes longer to answer is never read."""
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        program = tools.ensure(["prometheus"])["prometheus"]
        self._expositions = ExpositionServer(self.targets).__enter__()
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        log = self.folder / "prometheus.log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    str(program),
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=file,
                stderr=file,
            )
        try:
            wait_until(self._ready, f"Prometheus to answer; its log is {log}", 30)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop it, and what it scrapes."""
        self._stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now: samples with their labels.

        Raises:
            HTTPError: it cannot be parsed or evaluated.
        """
        result = self._get("query", query=expression)["result"]
        series: list[dict[str, Any]] = result
        return series

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition on what was scraped; fail with how the scrapes went."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                self._get("targets")["activeTargets"],
                self.query('{__name__=~"mistral_.*_total|up|scrape_.*"}'),
                (self.folder / "prometheus.log").read_text()[-3000:],
            )
            time.sleep(0.2)

    def rule_states(self) -> list[dict[str, Any]]:
        """Return every rule that was loaded, with its health and its alerts."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Return every alert that is pending or firing."""
        alerts: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return alerts

    def _configuration(self) -> dict[str, Any]:
        address = f"127.0.0.1:{self._expositions.server_port}"
        interval = f"{round(self.scrape_seconds * 1000)}ms"
        return {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(self.rules)],
            "scrape_configs": [
                {
                    "job_name": name,
                    "scrape_timeout": interval,
                    "metrics_path": f"/{name}",
                    "honor_labels": target.honor_labels,
                    "static_configs": [{"targets": [address], "labels": target.labels}],
                }
                for name, target in self.targets.items()
            ],
        }

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self.folder / "prometheus.log").read_text()
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._expositions.__exit__()
