"""Steady clients of a Service of a node cluster, and what they got."""

import json
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

import steady_clients
from cluster_namespace import Namespace
from steady_outcomes import Outcome

_END_SECONDS = 900.0
"""For queued requests, when no further ones begin."""


class Traffic:
    """Clients that ask while the block runs; at its end the last requests are answered.

    Their program runs in the namespace of the node, where kube-proxy's rules lead a Service's
    address to its endpoints, as they do for pods.

    Args:
        namespace: of the Service.
        name: of the Service.
        model: the name of the model.
        kinds: of clients; all of `steady_clients.CLIENTS` if none is named.
        url: to ask instead of the Service.
    """

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        *kinds: str,
        model: str = "tiny",
        url: str | None = None,
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._arguments = (model, *kinds)
        self._url = url
        self._lines: list[bytes] = []

    def __enter__(self) -> Self:
        if self._url is None:
            address = self._namespace.wait_for("service", self._name)["spec"]["clusterIP"]
            self._url = f"http://{address}:8000"
        command = [sys.executable, steady_clients.__file__, self._url, *self._arguments]
        self._process = subprocess.Popen(
            self._namespace.cluster.inside(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(_END_SECONDS if error is None else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        if error is None:
            assert code == 0, f"the clients ended with {code}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of the requests that are over."""
        return [Outcome(**json.loads(line)) for line in list(self._lines)]

    def until_answered(self, seconds: float = 60) -> None:
        """Wait until a request of every kind of client was answered that began from now on."""
        now = time.time()
        kinds = set(self._arguments[1:])

        def answered() -> bool:
            since = {one.client for one in self.outcomes if not one.failed and one.began > now}
            return bool(since) and kinds <= since

        self._namespace.until(answered, f"answers to clients of {self._name}", seconds)
