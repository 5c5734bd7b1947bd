"""From `kubectl apply` to Ready, beside a bare `vllm serve` with the same arguments.

Both on this machine, one after the other, with warm page caches: the bare engine on the host until
it answers its first chat, the endpoint in a pod of the local cluster until it is Ready.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from cluster_namespace import Namespace
from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.images import engine
from mistral_dev.installation import EXAMPLE, Installation
from mistral_dev.prepare import everything
from mistral_dev.progress import Progress
from mistral_dev.settings import Profile
from mistral_operator.api import parse_spec
from mistral_operator.render.server_settings import server_settings
from mistral_server.engine.argv import GATE, engine_arguments, engine_environment
from server_runner import free_port

LONGEST_SECONDS = 600.0
ROUNDS = 3


@pytest.mark.timeout(3600)
def test_apply_to_ready_beside_a_bare_start(tmp_path: Path) -> None:
    prepared = everything(Progress())
    bare = [_bare_start(prepared.checkpoint, tmp_path) for _ in range(ROUNDS)]
    name = f"bench-{os.getpid()}"
    with Cluster(name, Profile.NODE, state_dir=tmp_path / name) as cluster:
        installation = Installation(cluster, prepared)
        installation.install("signalSeconds=2")
        installation.make_namespace("bench")
        ours = [_apply_to_ready(Namespace(cluster, "bench")) for _ in range(ROUNDS)]

    print("\nseconds to the first chat      best   all")
    for title, seconds in (("bare vllm serve", bare), ("apply to Ready", ours)):
        print(f"{title:<28} {min(seconds):6.1f}   {[round(one, 1) for one in seconds]}")
    print(f"difference of the best {min(ours) - min(bare):+.1f} s")


def _bare_start(checkpoint: Path, directory: Path) -> float:
    spec = parse_spec(yaml.safe_load(EXAMPLE.read_text())["spec"])
    settings = server_settings(spec)
    settings = settings.model_copy(
        update={
            "host": "127.0.0.1",
            "port": free_port(),
            "model": settings.model.model_copy(update={"path": str(checkpoint)}),
            "system_prompt": None,
        }
    )
    bare = [one for one in engine_arguments(settings) if one != f"--middleware={GATE}"]
    command = [str(engine.engine() / "bin" / "vllm"), "serve", *bare]
    environment = engine_environment(settings, engine.environment(), "token")
    began = time.monotonic()
    with (directory / "bare.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until(lambda: _chats(settings.port), "the bare engine", LONGEST_SECONDS)
            return time.monotonic() - began
        finally:
            process.terminate()
            process.wait(60)


def _chats(port: int) -> bool:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    request = Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - http on loopback
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _apply_to_ready(namespace: Namespace) -> float:
    began = time.monotonic()
    namespace.kubectl("apply", "-f", str(EXAMPLE))
    namespace.wait_until_ready("tiny", LONGEST_SECONDS)
    seconds = time.monotonic() - began
    namespace.kubectl("delete", "msd", "tiny")
    namespace.until(
        lambda: '"tiny' not in namespace.kubectl("get", "pod", "-o", "json"), "no pod", 120
    )
    return seconds
