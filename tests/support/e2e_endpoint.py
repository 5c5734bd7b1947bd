"""What the end-to-end tests do to an endpoint."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from cluster_namespace import Namespace


def pod_of(namespace: Namespace, name: str = "tiny") -> str:
    """Return the name of the one pod of an endpoint that is not going away."""
    selector = f"--selector=inference.mistral-small.io/deployment={name}"
    pods = json.loads(namespace.kubectl("get", "pod", selector, "-o", "json"))["items"]
    staying = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
    return str(staying[0]["metadata"]["name"]) if staying else ""


def kill_engine(namespace: Namespace, pod: str) -> None:
    """Kill the engine's core process in the pod, as the kernel does when memory runs out."""
    script = (
        "import os, pathlib\n"
        "for stat in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    if b'EngineCore' in stat.read_bytes():\n"
        "        os.kill(int(stat.parent.name), 9)\n"
        "        break\n"
        "else:\n"
        "    raise SystemExit('no engine process')\n"
    )
    namespace.kubectl("exec", pod, "--", "python3", "-c", script)


@contextmanager
def stream_inside(namespace: Namespace, pod: str, tokens: int) -> Iterator[subprocess.Popen[bytes]]:
    """Stream a chat from a pod's own address, as a client inside the cluster does."""
    current = namespace.get("pod", pod)
    assert current is not None
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
    }
    url = f"http://{current['status']['podIP']}:8000/v1/chat/completions"
    command = ["curl", "--silent", "--no-buffer", url, "--json", json.dumps(body)]
    process = subprocess.Popen(namespace.cluster.inside(command), stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
