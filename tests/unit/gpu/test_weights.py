"""The file of random weights, and the starts that read it."""

import json
import math
import signal
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mistral_dev.gpu.choice import chosen
from mistral_dev.gpu.model import PARAMS
from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import ScenarioContext
from mistral_dev.gpu.scenarios import ALL
from mistral_dev.gpu.scenarios.weights import plan, start
from mistral_dev.gpu.weights import drop_from_page_cache, weights_file, write_weights
from mistral_dev.images.checkpoint import PARAMS as TINY
from mistral_dev.images.checkpoint import header, tensors
from mistral_server.engine.argv import engine_arguments

_SMALL: Mapping[str, Any] = {**TINY, "vocab_size": 512}


def test_the_file_has_the_real_model_s_size() -> None:
    start = header(PARAMS, "BF16", 2)
    values = sum(2 * math.prod(tensor.shape) for tensor in tensors(PARAMS))

    assert round((len(start) + values) / 1e9, 2) == 48.02


def test_each_tensor_is_written_where_the_header_says(tmp_path: Path) -> None:
    content = write_weights(tmp_path, _SMALL).read_bytes()
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length])

    values = content[8 + length :]
    begin, end = entries["layers.1.attention_norm.weight"]["data_offsets"]
    assert len(values) == max(one["data_offsets"][1] for one in entries.values())
    assert set(_numbers(values[begin:end])) == {1.0}
    begin, end = entries["layers.1.attention.wo.weight"]["data_offsets"]
    assert all(1 / 64 <= abs(one) < 1 / 32 for one in _numbers(values[begin:end]))


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    weights_file(tmp_path).write_text("real weights")

    assert write_weights(tmp_path, _SMALL).read_text() == "real weights"


def test_a_file_that_is_dropped_from_the_page_cache_can_be_read(tmp_path: Path) -> None:
    path = weights_file(tmp_path)
    path.write_text("weights")

    drop_from_page_cache(path)

    assert path.read_text() == "weights"


def test_the_server_reads_the_weights_of_its_own_directory(tmp_path: Path) -> None:
    rig = Rig("cuda", (0,), 143_771, "python3", (), "/model", tmp_path)
    arguments = engine_arguments(rig.settings(plan(rig, "disk")))

    assert arguments[0] == str(tmp_path / "weights")
    assert "--load-format=mistral" in arguments
    assert "--enforce-eager" in arguments


def test_a_full_disk_is_no_place_for_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig("cuda", (0,), 143_771, "python3", (), "/model", tmp_path)
    (scenario,) = chosen(ALL, ["weights"], cpu=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: _Usage(free=49_000_000_000))

    assert scenario.lacks(rig) == f"needs 50 GB of free disk at {tmp_path}"


class FakeLog:
    """A log in which the loader says how long it read."""

    def __init__(self, read: float | None) -> None:
        self._read = read

    def number(self, _pattern: str) -> float | None:
        """Return the seconds."""
        return self._read


@dataclass
class FakeServer:
    """A server that was ready after it had loaded for some seconds."""

    loading: float
    log: FakeLog
    ready_seconds: float = 49.0
    memory_peak: int = 2**31
    signals: list[int] = field(default_factory=list)

    def wait_until_ready(self, _seconds: float) -> bool:
        """Be ready."""
        return True

    def get(self, _path: str) -> tuple[int, str]:
        """Return the page of the stages."""
        return 200, json.dumps({"finished": {"loading": self.loading, "profiling": 6.0}})

    def signal(self, number: int) -> None:
        """Take a signal."""
        self.signals.append(number)

    def wait_or_kill(self, _seconds: float) -> Any:
        """Exit with 0."""
        return type("Exit", (), {"code": 0})


@pytest.mark.parametrize(
    ("loading", "read", "failed"),
    [
        (32.9, 30.88, []),
        (0.7, 30.88, ["the stage is that of loading: 30.88 s"]),
        (32.9, None, ["the stage is that of loading: 0.0 s"]),
    ],
)
def test_the_stage_has_to_last_as_long_as_vllm_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loading: float,
    read: float | None,
    failed: list[str],
) -> None:
    rig = Rig("cuda", (0,), 143_771, "python3", (), "/model", tmp_path)
    (tmp_path / "weights").mkdir()
    weights_file(tmp_path / "weights").write_bytes(bytes(1_000_000))
    server = FakeServer(loading, FakeLog(read))

    def begin(self: ScenarioContext, plan: Plan, held: bool = False) -> Any:
        assert held
        assert plan.name == "disk"
        self.servers.append(server)  # type: ignore[arg-type]
        return server

    monkeypatch.setattr(ScenarioContext, "start", begin)
    monkeypatch.setattr(
        ScenarioContext, "chat", lambda _self: type("Response", (), {"status": 200})
    )
    context = ScenarioContext(rig, ())
    start("disk", False, context)

    assert context.findings.failed == failed
    assert context.findings.figures["loading_s"] == loading
    assert context.findings.figures["host_memory_gib"] == 2.0
    assert server.signals == [signal.SIGTERM]


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def _numbers(values: bytes) -> list[float]:
    """Read values in bfloat16, the upper half of a float."""
    return [
        number
        for at in range(0, len(values), 2)
        for number in struct.unpack("<f", b"\0\0" + values[at : at + 2])
    ]
