"""An operator of a test is stopped and continued by its test alone."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from mistral_dev.cluster import Cluster
from operator_process import OperatorProcess


def test_an_operator_has_a_session_of_its_own(tmp_path: Path) -> None:
    cluster = cast("Cluster", SimpleNamespace(kubeconfig=tmp_path / "none"))
    operator = OperatorProcess(cluster, tmp_path / "operator.log")
    operator.start()
    assert operator.process is not None
    try:
        assert os.getsid(operator.process.pid) == operator.process.pid
    finally:
        operator.process.kill()
        operator.process.wait()
