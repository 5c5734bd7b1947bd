"""The command line: help, bad settings, and what the launcher leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mistral_server.cli.commands import read_settings
from mistral_server.contract import (
    COMPILE_CACHE_ENV,
    EXIT_CODES,
    FETCH_SETTINGS_ENV,
    REPORT_LIMIT_BYTES,
    SERVER_SETTINGS_ENV,
    FailureClass,
    FetchSettings,
    ServerSettings,
    Stage,
    TerminationReport,
)
from mistral_server.engine_log.classify import EXPLAINED
from mistral_server.errors import InvalidConfigurationError, ServerError, StartFailedError
from mistral_server.supervisor.termination import make_report, write_report
from server_runner import SERVER_SOURCE, free_port


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``mistral-server`` with only these settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MISTRAL_")}
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mistral_server", *words],
        env={**env, "PYTHONPATH": str(SERVER_SOURCE), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_imports_nothing_heavy() -> None:
    done = command("--help")

    assert done.returncode == 0
    assert "run" in done.stdout
    assert "fetch" in done.stdout
    for heavy in ("pydantic", "aiohttp", "asyncio", "prometheus_client"):
        assert f" {heavy}\n" not in done.stderr


def test_the_short_option_shows_the_same_help() -> None:
    for words in ((), ("detect-loop",)):
        short, long = command(*words, "-h"), command(*words, "--help")
        assert (short.returncode, short.stdout) == (0, long.stdout)


def test_sigterm_is_handled_before_anything_is_imported() -> None:
    # Process 1 of a container would not even be ended by it: without a handler it is dropped.
    program = (
        "import os, signal\n"
        "from mistral_server import __main__\n"
        "from mistral_server.cli import main\n"
        "main.cli = lambda **_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "__main__.main()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(SERVER_SOURCE)}
    done = subprocess.run([sys.executable, "-c", program], env=env, timeout=60, check=False)

    assert done.returncode == 128 + 15


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "MISTRAL_SERVER_SETTINGS is not set"),
        ({SERVER_SETTINGS_ENV: "{"}, "MISTRAL_SERVER_SETTINGS cannot be used: document: Invalid"),
        ({SERVER_SETTINGS_ENV: '{"key":"hush"}'}, "model: Field required; key: Extra inputs"),
    ],
)
def test_bad_settings_end_with_a_report_that_quotes_none_of_them(
    variables: dict[str, str], says: str
) -> None:
    done = command("run", **variables)

    assert done.returncode == EXIT_CODES[FailureClass.INVALID_CONFIGURATION]
    assert says in done.stderr
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", '{"model":{"path":"/m","served_name":"s","id":"i"}}')
    assert read_settings(ServerSettings, "X").engine.tensor_parallel_size == 2

    monkeypatch.setenv("X", '{"model":{"path":"/m","served_name":"s","id":"i"},"port":0}')
    with pytest.raises(InvalidConfigurationError, match="port: "):
        read_settings(ServerSettings, "X")


def test_every_failure_has_an_error_and_an_exit_code_of_its_own() -> None:
    errors = {one.failure for one in ServerError.__subclasses__() if hasattr(one, "failure")}

    assert errors | EXPLAINED == set(FailureClass)
    assert len(set(EXIT_CODES.values())) == len(FailureClass)
    assert all(0 < code < 128 for code in EXIT_CODES.values())


def test_a_report_fits_into_what_the_kubelet_keeps(tmp_path: Path) -> None:
    path = tmp_path / "log"
    error = StartFailedError("what to do " * 300, evidence="\u00e9" * 9000, engine_exit=-9)
    write_report(make_report(error, Stage.LOADING, 12.9), str(path))

    assert path.stat().st_size <= REPORT_LIMIT_BYTES
    words = TerminationReport.model_validate_json(path.read_bytes())
    assert (words.failure, words.stage, words.engine_exit, words.uptime_seconds) == (
        FailureClass.START_FAILED,
        "loading",
        -9,
        12,
    )


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 128 + 15)],
)
def test_the_launcher_ends_as_the_engine_does(program: str, code: int) -> None:
    with launched(sys.executable, "-c", program) as launcher:
        assert launcher.wait(10) == code


def test_the_launcher_reports_a_missing_engine() -> None:
    with launched("/no/such/program") as launcher:
        assert launcher.wait(10) == 127
        assert launcher.stderr is not None
        assert b"cannot run /no/such/program" in launcher.stderr.read()


def test_the_launcher_collects_a_daemon_that_left_its_group(tmp_path: Path) -> None:
    daemon = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "time.sleep(0.5)\n"
    )
    with launched(sys.executable, "-c", daemon) as launcher:
        assert launcher.wait(10) == 0
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_killed_launcher_takes_the_engine_along() -> None:
    engine = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with launched(sys.executable, "-c", engine) as launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        launcher.kill()
        launcher.wait(10)
        deadline = time.monotonic() + 5
        while _runs(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def launched(*words: str) -> subprocess.Popen[bytes]:
    """Start a launcher whose supervisor is this process."""
    return subprocess.Popen(
        [sys.executable, "-m", "mistral_server.supervisor.launcher", *words],
        env={**os.environ, "PYTHONPATH": str(SERVER_SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("made", ["compiled", "missing/compiled"])
def test_fetch_makes_the_directory_of_compiled_code_if_it_can(tmp_path: Path, made: str) -> None:
    settings = FetchSettings(
        repository="o/m", revision="main", directory=str(tmp_path / "m"), health_port=free_port()
    )
    variables = {
        FETCH_SETTINGS_ENV: settings.model_dump_json(),
        COMPILE_CACHE_ENV: str(tmp_path / made),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }

    done = command("fetch", **variables)

    # The hub is not there: whether the directory could be made does not matter to the fetch.
    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE]
    assert (tmp_path / made).is_dir() == (made == "compiled")
    warned = "Cannot create the directory of compiled code" in done.stdout + done.stderr
    assert warned == (made != "compiled")
