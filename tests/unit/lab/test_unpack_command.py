"""The command that unpacks, on a machine that has Python's library and click."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mistral_dev.lab.unpack import MANIFEST, ZSTANDARD
from mistral_dev.paths import CHECKOUT_DEV


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a directory that holds click and nothing else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "click").symlink_to(Path(click.__file__).parent)
    return folder


def test_it_takes_a_piece_with_nothing_else_installed(packages: Path, tmp_path: Path) -> None:
    arrived, home = tmp_path / "arrived", tmp_path / "home"
    arrived.mkdir()
    (arrived / "small.0").write_bytes(b"piece")
    piece_hash = hashlib.sha256(b"piece").hexdigest()
    pieces = {"small": ["small.0", "small.1"]}
    hashes = dict.fromkeys(("small.0", "small.1", ZSTANDARD), piece_hash)
    (arrived / MANIFEST).write_text(json.dumps({"archives": pieces, "hashes": hashes}))

    done = subprocess.run(
        [sys.executable, "-S", "-m", "mistral_dev.gpu", "unpack", str(arrived), str(home)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(packages), str(CHECKOUT_DEV / "src"))),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"missing: small.1, {ZSTANDARD}\n"), done.stderr
