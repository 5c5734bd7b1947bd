"""What processes take of the host, without what the kernel can take back."""

import subprocess
import sys
from pathlib import Path

import pytest

from mistral_dev.gpu.host_memory import unreclaimable_bytes

MIB = 2**20
PROGRAM = """
import mmap, sys
heap = bytearray(b"x") * (64 << 20)
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sum(mapped[::4096])
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.process
def test_mapped_files_are_not_counted(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * (64 * MIB))
    command = [sys.executable, "-c", PROGRAM, str(weights)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert 64 * MIB <= unreclaimable_bytes([process.pid]) < 100 * MIB
        process.stdin.close()


def test_a_process_that_has_ended_takes_nothing() -> None:
    assert unreclaimable_bytes([2**22 + 1]) == 0
