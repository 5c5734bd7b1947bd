"""The supervisor with a fake engine: what it does to processes, ports and files."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mistral_server.contract import (
    API_KEYS_FILE,
    DRAINING_ENV,
    EXIT_CODES,
    FailureClass,
    GateSettings,
    LifecycleSettings,
    LogSettings,
    SignalDocument,
    key_digest,
)
from server_runner import (
    RunningServer,
    server_settings,
)

Start = Callable[..., RunningServer]


def test_a_server_reports_its_stages_and_becomes_ready_after_a_chat(start: Start) -> None:
    server = start(boot_seconds=2.0, waiting=3, starved=2, looping=1)
    seen = set()

    def ready() -> bool:
        status, text = server.get("/startupz")
        if status:
            seen.add((status, json.loads(text)["stage"]))
        return status == 200

    server.until(ready)

    assert {(503, "starting"), (503, "loading"), (503, "profiling")} <= seen
    assert server.get("/readyz") == (200, "serving")
    assert server.get("/livez") == (200, "ok")
    finished = json.loads(server.get("/startupz")[1])["finished"]
    assert list(finished) == ["starting", "loading", "profiling", "warming-up", "canary"]
    exposition = server.get("/metrics")[1]
    assert 'mistral_engine_start_seconds{stage="loading"}' in exposition
    assert 'mistral_engine_exits_total{class="EngineDied"} 0.0' in exposition
    assert 'mistral_common="1.12.0"' in exposition

    server.until(lambda: json.loads(server.get("/signals")[1])["waiting"] == 3)
    signals = SignalDocument.model_validate_json(server.get("/signals")[1])
    assert signals.ready
    assert (signals.starved, signals.looping) == (2, 1)
    assert signals.kv_cache_usage == 0.25
    assert signals.effective.model_dump() == {
        "vllm_version": "0.32.0",
        "mistral_common_version": "1.12.0",
        "tensor_parallel_size": 2,
        "context_length": 2048,
        "kv_cache_tokens": 131072,
    }


@pytest.mark.parametrize("abrupt", [False, True])
def test_a_stop_turns_unready_at_once_and_cuts_no_stream(
    start: Start, tmp_path: Path, abrupt: bool
) -> None:
    lifecycle = LifecycleSettings(startup_seconds=30, drain_seconds=20, endpoint_removal_seconds=1)
    settings = server_settings(tmp_path, lifecycle=lifecycle)
    server = start(settings, children=True, abrupt=abrupt)
    server.until_ready()
    stream = server.stream(tokens=60)
    first = next(stream)
    stopped = time.monotonic()
    server.stop()
    server.until(lambda: server.get("/readyz") == (503, "draining"), seconds=2)
    late = server.stream(tokens=1)

    assert next(late) == b"data: 0"  # load balancers have a second to notice
    assert server.get("/livez")[0] == 200
    server.stop()  # a second signal does not shorten the drain
    lines = [first, *stream]
    assert lines[-1] == b"data: [DONE]"
    assert len(lines) == 61
    assert server.wait() == 0
    assert time.monotonic() - stopped > 1
    assert not Path(server.settings.termination_log).exists()
    assert server.processes() == {}


def test_the_gate_can_see_a_drain_while_it_lasts(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    server = start()
    server.until_ready()
    (pid,) = (pid for pid, words in server.processes().items() if "vllm" in words.split()[2])
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    (file,) = (
        Path(one.partition("=")[2]) for one in variables if one.startswith(f"{DRAINING_ENV}=")
    )

    assert file.is_relative_to(folder)
    assert not file.exists()
    stream = server.stream(tokens=40)
    next(stream)
    server.stop()
    server.until(file.exists, seconds=2)
    assert list(stream)[-1] == b"data: [DONE]"
    assert server.wait() == 0
    assert list(folder.iterdir()) == []


def test_every_line_of_a_pod_is_json_if_its_settings_say_so(start: Start, tmp_path: Path) -> None:
    server = start(server_settings(tmp_path, logs=LogSettings(format="JSON")))
    server.until_ready()
    server.stop()
    server.wait()

    texts = server.output.read_text() + server.errors.read_text()
    entries = [json.loads(line) for line in texts.splitlines()]
    assert {"vllm", "mistral_server.supervisor.supervisor"} <= {one["logger"] for one in entries}
    assert all({"time", "level", "message"} <= set(one) for one in entries)


def test_a_stop_before_the_first_chat_ends_at_once(start: Start) -> None:
    server = start(boot_seconds=20.0, children=True)
    server.until(lambda: len(server.processes()) == 7)
    stopped_at = time.monotonic()
    server.stop()

    assert server.wait() == 0
    assert time.monotonic() - stopped_at < 15
    assert server.processes() == {}


@pytest.mark.parametrize("victim", ["vllm.entrypoints", "mistral_server.supervisor.launcher"])
def test_a_killed_engine_leaves_nothing_and_never_exits_0(start: Start, victim: str) -> None:
    server = start(children=True)
    server.until_ready()
    os.kill(server.pid_of(f"-m {victim}"), signal.SIGKILL)

    assert server.wait() == EXIT_CODES[FailureClass.ENGINE_DIED]
    assert server.processes() == {}
    report = server.report()
    assert report.failure is FailureClass.ENGINE_DIED
    assert report.stage == "serving"
    assert report.engine_exit == -signal.SIGKILL
    assert "terminated by signal 9" in report.message


def test_a_killed_supervisor_takes_every_process_down(start: Start) -> None:
    server = start(children=True)
    server.until_ready()
    assert len(server.processes()) == 7
    server.process.kill()

    server.until(lambda: server.processes() == {}, seconds=5)


def test_an_engine_that_exits_0_while_serving_is_still_a_death(start: Start) -> None:
    server = start()
    server.until_ready()
    os.kill(
        server.pid_of("-m vllm.entrypoints"), signal.SIGTERM
    )  # vLLM exits 0 when its engine dies

    assert server.wait() == EXIT_CODES[FailureClass.ENGINE_DIED]
    assert server.report().engine_exit == 0


def test_a_hung_engine_fails_liveness_and_is_not_drained(start: Start, tmp_path: Path) -> None:
    lifecycle = LifecycleSettings(startup_seconds=30, stall_seconds=1)
    server = start(server_settings(tmp_path, lifecycle=lifecycle), frozen=True, deaf=True)
    server.until_ready()
    server.until(lambda: server.get("/livez")[0] == 500)

    assert "no token was computed (running requests: 1)" in server.get("/livez")[1]
    server.stop()
    assert server.wait(5) == EXIT_CODES[FailureClass.STALLED]
    assert server.report().failure is FailureClass.STALLED


def test_a_request_that_makes_progress_is_not_a_hang(start: Start, tmp_path: Path) -> None:
    lifecycle = LifecycleSettings(startup_seconds=30, stall_seconds=1)
    server = start(server_settings(tmp_path, lifecycle=lifecycle))
    server.until_ready()
    reader = threading.Thread(target=lambda: list(server.stream(tokens=60)))
    reader.start()
    while reader.is_alive():
        assert server.get("/livez") == (200, "ok")
        time.sleep(0.2)
    reader.join()


def test_a_drain_has_an_end(start: Start, tmp_path: Path) -> None:
    lifecycle = LifecycleSettings(drain_seconds=1, endpoint_removal_seconds=0)
    server = start(server_settings(tmp_path, lifecycle=lifecycle), abrupt=True)
    server.until_ready()
    stream = server.stream(tokens=1000)
    next(stream)
    server.stop()

    assert server.wait(10) == 0
    assert "Requests are still running after 1 s" in server.errors.read_text()
    assert list(stream)[-1] != b"data: [DONE]"


def test_an_engine_deaf_to_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    lifecycle = LifecycleSettings(drain_seconds=0, endpoint_removal_seconds=0)
    server = start(server_settings(tmp_path, lifecycle=lifecycle), deaf=True, children=True)
    server.until_ready()
    server.stop()

    assert server.wait(40) == EXIT_CODES[FailureClass.ENGINE_DIED]
    assert "did not exit within 20 s" in server.report().message
    assert server.processes() == {}


def test_a_server_publishes_digests_of_its_keys_and_no_key(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / API_KEYS_FILE).write_text("first-key\nsecond-key\n")
    settings = server_settings(tmp_path, gate=GateSettings(api_keys=str(keys)))
    server = start(settings)
    server.until_ready()
    server.until(lambda: '"key_digests":{' in server.get("/signals")[1])

    text = server.get("/signals")[1]
    digests = SignalDocument.read(text).key_digests
    assert digests is not None
    expected = [key_digest(key, digests.salt) for key in (b"first-key", b"second-key")]
    assert {*digests.digests} == {*expected}
    assert "-key" not in text
