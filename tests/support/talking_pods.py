"""Fake pods that report their load: each has an address of the loopback network, and answers there.

kwok reports that pods run, at addresses where nothing is. The operator polls addresses that the API
server names, so a test gives each pod another one and serves `/signals` at it.
"""

import itertools
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from builders import signal
from cluster_namespace import Namespace
from mistral_dev.errors import CommandFailedError
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_server.contract import KEY_DIGEST_METHOD, KeyDigests, key_digest

_numbers = itertools.count(1)
_SALT = "c2FsdHNhbHRzYWx0"


@dataclass
class TalkingPods:
    """The pods of one endpoint, which share its requests evenly.

    Args:
        namespace: where they are.
        running, waiting, looping: requests of all of them together; a test changes these.
        keys: API keys that they accept, and publish digests of.
        mute: whether they refuse to answer.
        moved: whether they get addresses of the loopback network, which EndpointSlices do not take;
            if not, the addresses that kwok made up have to lead to this machine.
    """

    namespace: Namespace
    running: int = 0
    waiting: int = 0
    looping: int = 0
    keys: tuple[str, ...] = ()
    mute: bool = False
    moved: bool = True
    answered: int = 0
    servers: dict[str, tuple[ThreadingHTTPServer, ...]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def talking(self) -> Iterator["TalkingPods"]:
        """Give every ready pod a voice, and those that come, until the block ends."""
        thread = threading.Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            thread.join()
            for name in [*self.servers]:
                self._silence(name)

    def _silence(self, name: str) -> None:
        """Close a pod's servers; `servers` names the pod until its address refuses connections."""
        for server in self.servers[name]:
            server.shutdown()
            server.server_close()
        del self.servers[name]

    def _follow(self) -> None:
        while not self.stopped.wait(0.5):
            ready = {pod["metadata"]["name"] for pod in self._pods() if _is_ready(pod)}
            for name in self.servers.keys() - ready:
                self._silence(name)
            for name in ready - self.servers.keys():
                # One that is gone meanwhile needs no voice.
                with suppress(CommandFailedError):
                    self.servers[name] = self._serve(name)

    def _pods(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(
            self.namespace.kubectl("get", "pods", "-o", "json")
        )["items"]
        return items

    def _serve(self, name: str) -> tuple[ThreadingHTTPServer, ...]:
        pods = self
        address = self._move(name) if self.moved else self._address_of(name)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pods._say(self)

            def do_POST(self) -> None:
                pods.answered += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                _write(self, 200, json.dumps({"pod": name}).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        ports = (HEALTH_PORT, HTTP_PORT)
        servers = tuple(ThreadingHTTPServer((address, port), Handler) for port in ports)
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return servers

    def _address_of(self, name: str) -> str:
        return self.namespace.kubectl("get", "pod", name, "-o=jsonpath={.status.podIP}")

    def _move(self, name: str) -> str:
        """Give a pod an address of the loopback network."""
        address = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{next(_numbers)}"
        # A merge would add the address to the old one: addresses are the keys of that list.
        patch = [
            {"op": "replace", "path": "/status/podIP", "value": address},
            {"op": "replace", "path": "/status/podIPs", "value": [{"ip": address}]},
        ]
        self.namespace.kubectl(
            *("patch", "pod", name, "--subresource=status", "--type=json"),
            f"--patch={json.dumps(patch)}",
        )
        return address

    def _digests(self) -> KeyDigests | None:
        digests = tuple(key_digest(one.encode(), _SALT) for one in self.keys)
        return (
            KeyDigests(method=KEY_DIGEST_METHOD, salt=_SALT, digests=digests) if digests else None
        )

    def _say(self, request: BaseHTTPRequestHandler) -> None:
        count = max(len(self.servers), 1)
        document = signal(
            running=self.running // count,
            waiting=self.waiting // count,
            looping=self.looping // count,
            tokens=self.answered,
            effective={"kv_cache_tokens": 40_960},
            key_digests=self._digests(),
        )
        if self.mute:
            _write(request, 503, b"")
        else:
            _write(request, 200, document.model_dump_json().encode())


def _write(request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
