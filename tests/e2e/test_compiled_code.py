"""Compiled code on the claim of an endpoint: one pod stores it, and the next one loads it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slow_hub
from cluster_namespace import Namespace, Object, resource
from e2e_endpoint import pod_of
from mistral_dev.installation import Installation
from mistral_dev.network import NODE_IP

NAME = "compiled"
HUB_PORT = 8301
STORAGE_CLASS = "on-the-node"
USER = 1000
SPEC: Object = {
    "device": "cpu",
    "model": {
        "id": "tests/tiny",
        "dtype": "float32",
        "source": {"hub": {"endpoint": f"http://{NODE_IP}:{HUB_PORT}"}},
    },
    "cache": {"size": "1Gi", "storageClassName": STORAGE_CLASS},
    "engine": {"tensorParallelSize": 1, "contextLength": 1024, "kvCache": {"memory": "32Mi"}},
    "images": {"perPrompt": 1},
    "sharedMemory": "512Mi",
    "pod": {
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "fetchResources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
    },
}


@pytest.fixture(scope="module")
def hub(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a hub on the node."""
    log = tmp_path_factory.mktemp("hub") / "log"
    log.write_text(f"{slow_hub.WEIGHTS}\n")  # what was fetched before is sent at once
    program = [sys.executable, slow_hub.__file__, str(installation.prepared.checkpoint)]
    command = installation.cluster.inside([*program, NODE_IP, str(HUB_PORT), str(log)])
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the volume; the kubelet changes no owner of such a volume."""
    directory = tmp_path_factory.mktemp("volume")
    directory.chmod(0o777)
    return directory


@pytest.fixture(scope="module")
def cached(strict: Namespace, hub: None, volume: Path) -> Iterator[Namespace]:
    """Return a namespace with an endpoint whose claim is bound to the volume."""
    assert hub is None
    strict.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{NAME}-model-cache"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": STORAGE_CLASS,
                "hostPath": {"path": str(volume), "type": "Directory"},
                "claimRef": {"namespace": strict.name, "name": f"{NAME}-model-cache"},
            },
        }
    )
    strict.apply(resource(NAME, SPEC))
    yield strict
    strict.kubectl("delete", "msd", NAME, "--ignore-not-found", "--wait=false")


def use(namespace: Namespace) -> str:
    """Return what the ready replica did with compiled code."""
    status = (namespace.get("msd", NAME) or {}).get("status", {})
    return str(status.get("compiledCode", {}).get("use", ""))


def test_the_first_pod_stores_its_compiled_code_beside_the_model(
    cached: Namespace, volume: Path
) -> None:
    cached.wait_until_ready(NAME)
    cached.until(lambda: use(cached) == "Compiled", "the report on compiled code", 30)

    assert {one.name for one in volume.iterdir()} == {"compiled", "tests--tiny"}
    (key,) = (volume / "compiled").iterdir()
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (USER, 0o700)
    assert list((key / "vllm" / "modelinfos").glob("*.json"))


def test_the_server_can_write_to_nothing_else_of_the_claim(cached: Namespace) -> None:
    pod = pod_of(cached, NAME)
    for path in ("/models/planted", "/models/compiled/planted", "/models/tests--tiny/main/planted"):
        shell = f"touch {path} 2>&1 || true"
        assert "Read-only file system" in cached.kubectl(
            "exec", pod, "-c", "server", "--", "sh", "-c", shell
        )


def test_the_next_pod_loads_it(cached: Namespace) -> None:
    cached.kubectl("delete", "pod", pod_of(cached, NAME), "--wait=true")
    cached.until(lambda: use(cached) in ("", "Loaded"), "the end of the first pod", 60)

    cached.wait_until_ready(NAME)
    cached.until(lambda: use(cached) == "Loaded", "the report on compiled code", 30)
