"""A fake of ``vllm.entrypoints.cli.main``: same ports, paths and signals, no model.

``server_runner`` puts a copy of it where the supervisor runs vLLM. Its behavior is set by the
variable FAKE_ENGINE, a JSON object with the fields of `Behavior`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOG = (
    "(EngineCore pid=7) INFO 11-24 12:47:57 [model_runner.py:284] Loading model from scratch...",
    "(EngineCore pid=7) INFO 11-24 12:47:58 [model_runner.py:305] Model loading took 44.76 GiB",
    "(EngineCore pid=7) INFO 11-24 12:48:00 [kv_cache_utils.py:2177] GPU KV cache size: 57 tokens",
)

CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
depth = int(sys.argv[1])
if depth:
    subprocess.Popen([sys.executable, *sys.orig_argv[1:-1], str(depth - 1)])
time.sleep(600)
"""


@dataclass
class Behavior:
    """What the fake does."""

    boot_seconds: float = 0.1
    log: list[str] = field(default_factory=lambda: list(LOG))
    noise: str = ""
    """A file that is copied to the output."""
    children: bool = False
    """Start a child in this session and one in its own, each with a child of its own."""
    chat_status: int = 200
    chat_text: str = ""
    exit_code: int | None = None
    """Exit with this code instead of serving."""
    last_words: list[str] = field(default_factory=list)
    """Printed before that exit."""
    frozen: bool = False
    """Report a running request and counters that never move."""
    deaf: bool = False
    """Ignore SIGTERM."""
    abrupt: bool = False
    """Cut every stream on SIGTERM, as vLLM with several API processes does."""
    waiting: int = 0
    """Requests in the queue, as the metrics report."""
    starved: int = 0
    """Those of them that the engine has no room for."""
    looping: int = 0
    """Requests that loop, as the gate reports."""
    compiles: bool = False
    """Load what is in VLLM_CACHE_ROOT, or compile it and store it there, as the log says."""


class State:
    """What the handlers share."""

    def __init__(self, behavior: Behavior) -> None:
        self.behavior = behavior
        self.running = 0
        self.tokens = 0
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """The endpoints that the supervisor uses, and a stream."""

    protocol_version = "HTTP/1.1"
    state: State

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, "")
        elif self.path == "/metrics":
            self._answer(200, self._metrics())
        elif self.path == "/version":
            self._answer(200, json.dumps({"version": "0.32.0"}))
        elif self.path == "/v1/models":
            self._answer(200, json.dumps({"data": [{"id": "tiny", "max_model_len": 2048}]}))
        else:
            self._answer(404, "")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        behavior = self.state.behavior
        if behavior.chat_status != 200:
            self._answer(behavior.chat_status, behavior.chat_text)
        elif request.get("stream"):
            self._stream(request["max_tokens"])
        else:
            answer = {"choices": [{"message": {}}], "system_fingerprint": "vllm-0.32.0-tp2-d045"}
            self._answer(200, json.dumps(answer))

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, tokens: int) -> None:
        with self.state.lock:
            self.state.running += 1
        self.send_response(200)
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(tokens):
            self.wfile.write(f"data: {number}\n\n".encode())
            self.wfile.flush()
            self.state.tokens += 1
            time.sleep(0.05)
        self.wfile.write(b"data: [DONE]\n\n")
        with self.state.lock:
            self.state.running -= 1

    def _metrics(self) -> str:
        starved, looping = self.state.behavior.starved, self.state.behavior.looping
        running = 1 if self.state.behavior.frozen else self.state.running
        return (
            f'vllm:num_requests_running{{engine="0",model_name="tiny"}} {running}.0\n'
            f'vllm:num_requests_waiting{{engine="0"}} {self.state.behavior.waiting}.0\n'
            f'vllm:num_requests_waiting_by_reason{{reason="capacity"}} {starved}.0\n'
            f'mistral_requests_in_flight{{state="looping"}} {looping}.0\n'
            'vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25\n'
            'vllm:cache_config_info{block_size="128",kv_cache_size_tokens="131072"} 1.0\n'
            f'vllm:generation_tokens_total{{engine="0",model_name="tiny"}} {self.state.tokens}.0\n'
        )


def main() -> None:
    """Serve with the behavior of FAKE_ENGINE."""
    behavior = Behavior(**json.loads(os.environ.get("FAKE_ENGINE", "{}")))
    port = int(next(a for a in sys.argv if a.startswith("--port=")).removeprefix("--port="))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # `_serve` waits for it
    if behavior.children:
        for own_session in (False, True):
            command = [sys.executable, "-c", CHILD, "1"]
            subprocess.Popen(command, start_new_session=own_session)
    for line in behavior.log:
        print(line, flush=True)
        time.sleep(behavior.boot_seconds / len(behavior.log))
    if behavior.compiles:
        _compile(Path(os.environ["VLLM_CACHE_ROOT"], "torch_compile_cache", "model"))
    if behavior.noise:
        sys.stdout.buffer.write(Path(behavior.noise).read_bytes())
        sys.stdout.buffer.flush()
    if behavior.exit_code is not None:
        print("\n".join(behavior.last_words), flush=True)
        os._exit(behavior.exit_code)
    _serve(port, State(behavior))


def _compile(artifact: Path) -> None:
    prefix = "(EngineCore pid=7) INFO 11-24 12:47:59"
    if artifact.exists():
        print(f"{prefix} [decorators.py:319] Directly load AOT compilation from path {artifact}")
        return
    print(f"{prefix} [monitor.py:42] Starting torch.compile")
    artifact.parent.mkdir(parents=True)
    artifact.write_text("compiled")


def _serve(port: int, state: State) -> None:
    Handler.state = state
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    while state.behavior.deaf or (state.running and not state.behavior.abrupt):
        time.sleep(0.02)
    time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
