"""The compile cache of a start: a hit, a miss, and every way to do without it."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mistral_server.contract import (
    COMPILE_CACHE_ENV,
    EXIT_CODES,
    CompileCacheReport,
    FailureClass,
    SignalDocument,
    Stage,
    TerminationReport,
)
from mistral_server.errors import EngineDiedError, StartFailedError
from mistral_server.supervisor import compile_cache, gpus
from mistral_server.supervisor.compile_cache import TRIAL_SECONDS, CompileCache
from mistral_server.supervisor.supervisor import Supervisor, run_server
from server_runner import RunningServer, server_settings

Start = Callable[..., RunningServer]
H200 = "NVIDIA H200, 580.159.04, 9.0"

LOADED = (
    "(EngineCore pid=7) INFO 11-24 12:47:59 [decorators.py:319] Directly load AOT compilation from"
    " path /compiled/a/vllm/torch_compile_cache/torch_aot_compile/b/rank_0_0/model"
)
COMPILED = "(EngineCore pid=7) INFO 11-24 12:47:59 [monitor.py:42] Starting torch.compile"
ENCODER = (
    "(Worker_TP0 pid=9) INFO 11-24 12:47:59 [decorators.py:319] [vit] Directly load AOT compilation"
    " from path /compiled/a"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the directory of all keys, as the operator names it."""
    path = tmp_path / "compiled"
    path.mkdir()
    return path


def cache(tmp_path: Path, **settings: Any) -> CompileCache:
    """Return the cache of one run of a server."""
    return CompileCache(server_settings(tmp_path, **settings))


def started(tmp_path: Path, root: Path, *lines: str) -> CompileCache:
    """Return the cache of a start that wrote these lines and became ready."""
    one = cache(tmp_path)
    one.open({COMPILE_CACHE_ENV: str(root)})
    for line in lines:
        one.read(line)
    one.mark_ready()
    one.close()
    return one


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let this many seconds pass."""
    now = time.monotonic() + seconds
    monkeypatch.setattr(compile_cache, "time", SimpleNamespace(monotonic=lambda: now))


def signals(server: RunningServer) -> Any:
    """Return what a server reports of its compile cache."""
    report = SignalDocument.read(server.get("/signals")[1]).compile_cache
    return report and (report.use, report.reason)


def run_once(start: Start, tmp_path: Path, **behavior: Any) -> tuple[RunningServer, Any]:
    """Start a server and stop it; return it, and what it reported while it was ready."""
    server = start(server_settings(tmp_path), compiles=True, **behavior)
    server.until_ready()
    reported = signals(server)
    metrics = server.get("/metrics")[1]
    counted = re.findall(r'^mistral_server_compile_cache{result="(\w+)"} 1.0', metrics, re.M)
    assert counted == ([reported[0]] if reported else [])
    server.stop()
    assert server.wait() == 0
    return server, reported


def test_the_second_start_loads_what_the_first_one_compiled(
    start: Start, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMPILE_CACHE_ENV, str(root))

    assert run_once(start, tmp_path)[1] == ("miss", "")
    assert run_once(start, tmp_path)[1] == ("hit", "")


def test_without_the_variable_nothing_is_kept_or_reported(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "pod"))

    assert run_once(start, tmp_path)[1] is None
    assert (tmp_path / "pod").exists()


def test_a_cache_that_cannot_be_used_is_reported_and_the_server_serves(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "pod"))
    monkeypatch.setenv(COMPILE_CACHE_ENV, str(tmp_path / "missing" / "compiled"))

    use, reason = run_once(start, tmp_path)[1]

    assert use == "off"
    assert "No such file or directory" in reason


def test_an_engine_that_cannot_use_what_is_kept_starts_without_it_the_next_time(
    start: Start, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "pod"))
    monkeypatch.setenv(COMPILE_CACHE_ENV, str(root))
    run_once(start, tmp_path)

    failed = start(server_settings(tmp_path), compiles=True, exit_code=1, last_words=["Bad magic"])
    assert failed.wait() != 0
    assert failed.report().failure is FailureClass.START_FAILED

    use, reason = run_once(start, tmp_path)[1]
    assert use == "off"
    assert "a start with it failed" in reason


@pytest.mark.parametrize(
    ("lines", "kept", "use"),
    [
        ((LOADED,), True, "hit"),
        ((LOADED, ENCODER), True, "hit"),
        ((LOADED,), False, "hit"),  # the server that compiled it was stopped before it was ready
        ((COMPILED,), False, "miss"),
        ((COMPILED,), True, "miss"),  # vLLM compares more than the key has
        ((LOADED, COMPILED), True, "miss"),
        ((), True, "hit"),  # eager: kernels only
        ((), False, "miss"),
    ],
)
def test_hit_or_miss_is_what_the_log_says(
    tmp_path: Path, root: Path, lines: tuple[str, ...], kept: bool, use: str
) -> None:
    if kept:
        started(tmp_path, root, COMPILED)

    assert started(tmp_path, root, *lines).report == CompileCacheReport(use=use)


@pytest.mark.parametrize(
    ("failure", "kept", "deleted"),
    [
        (FailureClass.START_FAILED, True, True),
        (FailureClass.START_FAILED, False, True),
        (FailureClass.NOT_WRITABLE, False, True),
        (FailureClass.GPU_HARDWARE, True, True),
        (FailureClass.START_TIMEOUT, True, True),
        (FailureClass.START_TIMEOUT, False, False),
        (FailureClass.KV_CACHE_TOO_SMALL, True, False),
        (FailureClass.GPU_BUSY, True, False),
        (FailureClass.INVALID_CONFIGURATION, True, False),
    ],
)
def test_only_a_failure_that_compiled_code_may_cause_deletes_it(
    tmp_path: Path, root: Path, failure: FailureClass, kept: bool, deleted: bool
) -> None:
    if kept:
        started(tmp_path, root)
    one = cache(tmp_path)
    variables = one.open({COMPILE_CACHE_ENV: str(root)})

    one.mark_failed(failure)

    assert Path(variables["VLLM_CACHE_ROOT"]).parent.exists() != deleted


@pytest.mark.parametrize(
    ("failure", "ready_seconds", "used_again"),
    [
        (FailureClass.START_FAILED, None, True),
        (FailureClass.GPU_HARDWARE, None, True),
        (FailureClass.START_TIMEOUT, None, True),
        (FailureClass.KV_CACHE_TOO_SMALL, None, False),  # says nothing of compiled code
        (FailureClass.ENGINE_DIED, TRIAL_SECONDS - 1, True),
        (FailureClass.ENGINE_DIED, TRIAL_SECONDS + 1, False),
    ],
)
def test_a_start_that_fails_without_it_too_shows_that_it_was_not_the_cause(
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: FailureClass,
    ready_seconds: float | None,
    used_again: bool,
) -> None:
    for one in (cache(tmp_path), cache(tmp_path)):
        one.open({COMPILE_CACHE_ENV: str(root)})
        if one.report is None:
            one.mark_failed(FailureClass.START_FAILED)
            one.close()
    assert one.report is not None
    assert "a start with it failed" in one.report.reason

    if ready_seconds is not None:
        one.mark_ready()
        later(monkeypatch, ready_seconds)
    one.mark_failed(failure)

    assert ("VLLM_CACHE_ROOT" in cache(tmp_path).open({COMPILE_CACHE_ENV: str(root)})) == used_again


@pytest.mark.parametrize(
    ("use", "ready_seconds", "failure", "deleted"),
    [
        ("hit", 1, FailureClass.ENGINE_DIED, True),  # a kernel that no test chat needs
        ("hit", 1, FailureClass.STALLED, True),
        ("hit", 1, FailureClass.CUDA_OOM_RUNTIME, False),
        ("hit", TRIAL_SECONDS + 1, FailureClass.ENGINE_DIED, False),
        ("miss", 1, FailureClass.ENGINE_DIED, False),  # it ran what it had compiled itself
    ],
)
def test_an_engine_that_dies_soon_after_it_loaded_it_loads_it_no_more(
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: str,
    ready_seconds: float,
    failure: FailureClass,
    deleted: bool,
) -> None:
    if use == "hit":
        started(tmp_path, root)
    one = cache(tmp_path)
    path = Path(one.open({COMPILE_CACHE_ENV: str(root)})["VLLM_CACHE_ROOT"]).parent
    one.mark_ready()
    assert one.report == CompileCacheReport(use=use)

    later(monkeypatch, ready_seconds)
    one.mark_failed(failure)

    assert path.exists() != deleted


def test_a_failure_is_reported_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:  # by the kubelet, as the claim is slow
        raise KeyboardInterrupt

    def fail(_: Supervisor) -> None:
        raise StartFailedError("The engine exited.")

    monkeypatch.setattr(Supervisor, "_check", fail)
    monkeypatch.setattr(CompileCache, "mark_failed", killed)
    settings = server_settings(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        run_server(settings)

    report = TerminationReport.read(Path(settings.termination_log).read_text())
    assert report is not None
    assert report.failure is FailureClass.START_FAILED


def test_an_engine_that_is_stopped_badly_blames_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stop(supervisor: Supervisor) -> None:
        supervisor._state.stages.enter(Stage.DRAINING)
        raise EngineDiedError("The engine did not exit.")

    def mark_failed(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Supervisor, "_run", stop)
    monkeypatch.setattr(CompileCache, "mark_failed", mark_failed)

    assert run_server(server_settings(tmp_path)) == EXIT_CODES[FailureClass.ENGINE_DIED]


def test_gpus_that_are_not_known_turn_it_off(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    one = cache(tmp_path, device="cuda")

    assert "VLLM_CACHE_ROOT" not in one.open({COMPILE_CACHE_ENV: str(root)})
    assert one.report == CompileCacheReport(
        use="off", reason="nvidia-smi does not say which GPUs there are"
    )


def test_another_gpu_has_another_key(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []
    for card in (H200, H200.replace("580", "590"), H200):
        monkeypatch.setattr(compile_cache, "gpus", lambda one=card: (one,))
        one = cache(tmp_path, device="cuda")
        places.append(one.open({COMPILE_CACHE_ENV: str(root)})["VLLM_CACHE_ROOT"])
        one.close()

    assert places[0] == places[2] != places[1]


def test_what_depends_on_the_node_turns_it_off(tmp_path: Path, root: Path) -> None:
    one = cache(tmp_path)

    one.open({COMPILE_CACHE_ENV: str(root), "VLLM_SKIP_P2P_CHECK": "0"})

    assert one.report is not None
    assert one.report.use == "off"
    assert "VLLM_SKIP_P2P_CHECK" in one.report.reason


def test_the_gpus_are_those_that_nvidia_smi_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{H200}' '{H200}' ''\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert gpus.gpus() == (H200, H200)


@pytest.mark.parametrize(
    ("listed", "slices"),
    [
        ("GPU 0: NVIDIA H200 (UUID: GPU-1)", ()),
        (
            """GPU 0: NVIDIA H200 (UUID: GPU-1)
              MIG 1g.18gb     Device  0: (UUID: MIG-1)
              MIG 3g.71gb+me  Device  1: (UUID: MIG-2)""",
            ("MIG 1g.18gb", "MIG 3g.71gb+me"),
        ),
    ],
    ids=["whole", "slices"],
)
def test_slices_of_a_gpu_are_told_apart_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, slices: tuple[str, ...]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ $1 = -L ] && echo '{listed}' || echo '{H200}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert gpus.gpus() == (H200, *slices)
