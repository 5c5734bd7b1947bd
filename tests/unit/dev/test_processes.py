"""The parts of a local cluster are started, found and stopped by process files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mistral_dev.cluster import Cluster
from mistral_dev.errors import ComponentFailedError, MissingRequirementError
from mistral_dev.paths import Layout
from mistral_dev.processes import Processes, has_exited, start_time

SLEEP = ["sleep", "600"]
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    layout = Layout(tmp_path)
    layout.create()
    made = Processes(layout)
    yield made
    made.stop(made.running(), seconds=0)


def pid_of(processes: Processes, name: str) -> int:
    return int((processes.layout.run / f"{name}.pid").read_text().split()[0])


def test_a_part_that_was_started_is_alive_until_it_is_stopped(processes: Processes) -> None:
    processes.start("part", SLEEP)
    pid = pid_of(processes, "part")
    assert processes.alive("part")
    assert processes.running() == ["part"]
    processes.stop(["part"])
    assert not processes.alive("part")
    assert has_exited(pid)
    assert processes.running() == []


def test_starting_twice_starts_once(processes: Processes) -> None:
    processes.start("part", SLEEP)
    first = pid_of(processes, "part")
    processes.start("part", SLEEP)
    assert pid_of(processes, "part") == first


def test_another_process_with_the_same_id_is_not_taken_for_the_part(processes: Processes) -> None:
    file = processes.layout.run / "part.pid"
    file.write_text(f"{os.getpid()} {(start_time(os.getpid()) or 0) + 1}\n")
    assert not processes.alive("part")
    processes.stop(["part"])  # or this test would end here
    file.write_text(f"{os.getpid()} {start_time(os.getpid())}\n")
    assert processes.alive("part")
    file.unlink()


def test_a_zombie_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        deadline = time.monotonic() + 10
        while not has_exited(child.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        # No process has reaped it yet, so the kernel still has it.
        assert start_time(child.pid) is not None
        assert has_exited(child.pid)


def test_a_part_that_ignores_sigterm_is_killed(processes: Processes) -> None:
    processes.start("part", [sys.executable, "-c", DEAF])
    processes.wait_ready("part", lambda: "deaf" in processes.log("part").read_text(), 30)
    pid = pid_of(processes, "part")
    processes.stop(["part"], seconds=0.2)
    assert has_exited(pid)


def test_a_part_has_a_session_of_its_own_and_outlives_interrupts(processes: Processes) -> None:
    processes.start("part", SLEEP)
    pid = pid_of(processes, "part")
    assert os.getsid(pid) == pid
    os.kill(os.getpid(), signal.SIGCONT)
    assert processes.alive("part")


def test_the_error_about_a_part_that_died_quotes_its_log(processes: Processes) -> None:
    processes.start("part", ["sh", "-c", "echo the disk is full; exit 3"])
    with pytest.raises(ComponentFailedError, match="ended while it was starting") as caught:
        processes.wait_ready("part", lambda: False, 30)
    assert "the disk is full" in str(caught.value)
    assert str(processes.log("part")) in str(caught.value)


def test_the_error_about_a_late_part_has_the_delay(processes: Processes) -> None:
    processes.start("part", SLEEP)
    with pytest.raises(ComponentFailedError, match=r"was not ready after 0\.2 s"):
        processes.wait_ready("part", lambda: False, 0.2)


def test_the_log_of_the_run_before_is_kept(processes: Processes) -> None:
    for text in ("first", "second"):
        processes.start("part", ["sh", "-c", f"echo {text}; exec sleep 600"])
        processes.wait_ready("part", lambda text=text: text in _log(processes), 30)  # type: ignore[misc]
        processes.stop(["part"])
    assert _log(processes) == "second\n"
    assert processes.log("part").with_name("part.log.1").read_text() == "first\n"


def test_a_program_that_is_not_there_is_named(processes: Processes) -> None:
    with pytest.raises(MissingRequirementError, match="no program `no-such-program`"):
        processes.start("part", ["no-such-program"])


def _log(processes: Processes) -> str:
    return processes.log("part").read_text()


def test_a_cluster_that_stops_leaves_nothing_that_was_started_in_it(tmp_path: Path) -> None:
    cluster = Cluster("x", "control-plane", state_dir=tmp_path / "x")
    cluster.layout.create()
    cluster.processes.start("prometheus", SLEEP)

    cluster.down()

    assert cluster.processes.running() == []
