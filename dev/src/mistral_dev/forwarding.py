"""`kubectl port-forward` for a block of code: how the demo and the tests reach an endpoint."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from mistral_dev import tools
from mistral_dev.cluster import Cluster
from mistral_dev.errors import DevError

_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")


@contextmanager
def forwarded(cluster: Cluster, namespace: str, target: str, port: int | str) -> Iterator[str]:
    """Forward a port of `target` (such as svc/small) and yield its base URL on loopback.

    Raises:
        DevError: kubectl could not forward the port; its errors are quoted.
    """
    command = [str(tools.program("kubectl")), "--kubeconfig", str(cluster.kubeconfig)]
    command += ["--namespace", namespace, "port-forward", target, f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{_local_port(process)}"
    finally:
        process.terminate()
        process.communicate()


def _local_port(process: subprocess.Popen[bytes]) -> int:
    first = process.stdout.readline() if process.stdout else b""
    match = _FORWARDING.search(first)
    if match is None:
        _, errors = process.communicate()
        raise DevError(f"kubectl port-forward failed: {errors.decode(errors='replace').strip()}")
    return int(match[1])
