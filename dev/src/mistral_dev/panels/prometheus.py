"""Prometheus for a recording and for its pictures, and what it returns."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from mistral_dev import tools
from mistral_dev.commands import wait_until
from mistral_dev.settings import free_ports

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Series:
    """A series of a result: its labels, and values by Unix time."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Span:
    """A span of Unix time, and the distance of two evaluations in it, in seconds."""

    start: float
    end: float
    step: float = 10.0


Get = Callable[[str, Mapping[str, str]], Any]
"""Returns `data` of a path below /api/v1/ for some parameters."""


@dataclass(frozen=True)
class Answers:
    """What Prometheus returns for expressions in a span."""

    get: Get
    span: Span

    def over_time(self, expression: str) -> list[Series]:
        """Return the series of an expression over the whole span."""
        span = self.span
        times = {"start": str(span.start), "end": str(span.end), "step": str(span.step)}
        return _series(self.get("query_range", {"query": expression, **times}))

    def at_the_end(self, expression: str) -> list[Series]:
        """Return the newest values of an expression."""
        return _series(self.get("query", {"query": expression, "time": str(self.span.end)}))

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values of a label in the span, as the dashboard's variables do."""
        parameters = {
            "match[]": selector,
            "start": str(self.span.start),
            "end": str(self.span.end),
        }
        values: list[str] = self.get(f"label/{label}/values", parameters)
        return values


def command(configuration: Path, data: Path, port: int) -> list[str | Path]:
    """Return the command of a Prometheus on loopback, which keeps all data."""
    return [
        tools.ensure(["prometheus"])["prometheus"],
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


@contextmanager
def reader(folder: Path, span: Span) -> Iterator[Answers]:
    """Start a Prometheus that scrapes nothing on the data of a recording."""
    configuration, log = folder / "reader.yml", folder / "reader.log"
    configuration.write_text("{}\n")
    (port,) = free_ports(1)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(configuration, folder / "data", port), stdout=file, stderr=file
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _ready(url), f"Prometheus to answer; its log is {log}", READY_SECONDS)
        yield Answers(lambda path, parameters: _get(f"{url}/api/v1/{path}", parameters), span)
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=5) as response:  # noqa: S310 - loopback
            return bool(response.status == 200)
    except URLError:
        return False


def _get(url: str, parameters: Mapping[str, str]) -> Any:
    with urlopen(f"{url}?{urlencode(parameters)}", timeout=60) as response:  # noqa: S310 - loopback
        return json.load(response)["data"]


def _series(data: Mapping[str, Any]) -> list[Series]:
    """Return the series of a vector or a matrix."""
    return [
        Series(
            one["metric"],
            tuple((float(at), float(value)) for at, value in one.get("values") or [one["value"]]),
        )
        for one in data["result"]
    ]
