"""Fuzzing that follows the branches of the gate's readers: how much a minute tries, and no finding.

FUZZ_SECONDS is how long each target runs. If FUZZ_CORPUS names a folder, the inputs that reached
new code stay there, and the next run continues with them.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mistral_dev.paths import CHECKOUT

SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
SOURCES = ("operator/src", "server/src", "dev/src", "tests/support")


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform"
)
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("target", ["streams", "exchanges", "documents"])
def test_no_input_breaks_a_reader(target: str, tmp_path: Path) -> None:
    corpus = Path(os.environ.get("FUZZ_CORPUS", tmp_path)) / target
    path = os.pathsep.join(str(CHECKOUT / one) for one in SOURCES)
    command = [sys.executable, "-m", "bench.coverage_fuzzer", target, str(corpus)]
    done = subprocess.run(
        [*command, f"-max_total_time={SECONDS}", "-timeout=30"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-5000:]
    (tries, seconds), (branches, *_) = (
        re.findall(r"Done (\d+) runs in (\d+) second", done.stderr)[0],
        re.findall(r"cov: (\d+)", done.stderr)[::-1],
    )
    print(f"\n{target}: {int(tries):,} inputs in {seconds} s, {branches} branches, no finding")
