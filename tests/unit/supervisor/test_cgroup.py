"""What the kernel counts for the container."""

from pathlib import Path

import pytest

from mistral_server.supervisor.cgroup import oom_kills


@pytest.mark.parametrize(
    ("file", "text", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("memory.events", "low 0\n", 0),
        ("memory.events", "oom_kill x\n", 0),
        ("elsewhere", "oom_kill 5\n", 0),
    ],
)
def test_the_kernels_kills_are_counted(tmp_path: Path, file: str, text: str, kills: int) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

    assert oom_kills(tmp_path) == kills
