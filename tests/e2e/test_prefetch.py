"""A Job fetches a model before a pod starts, and the next revision while the old one serves."""

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

NAME = "fetched"
JOB = f"{NAME}-prefetch"
HUB_PORT = 8302
STORAGE_CLASS = "for-prefetch"
JOB_PODS = f"--selector=inference.mistral-small.io/prefetch={NAME}"
SPEC: Object = {
    "device": "cpu",
    "model": {
        "id": "tests/tiny",
        "dtype": "float32",
        "source": {"hub": {"endpoint": f"http://{NODE_IP}:{HUB_PORT}"}},
    },
    "cache": {"size": "1Gi", "storageClassName": STORAGE_CLASS, "prefetch": "BeforePods"},
    "engine": {"tensorParallelSize": 1, "contextLength": 1024, "kvCache": {"memory": "32Mi"}},
    "images": {"perPrompt": 1},
    "sharedMemory": "512Mi",
    "pod": {
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "fetchResources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
    },
}


@pytest.fixture(scope="module")
def requested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file with the names of the files that the hub has sent."""
    log = tmp_path_factory.mktemp("hub") / "log"
    log.write_text(f"{slow_hub.WEIGHTS}\n")  # what was fetched before is sent at once
    return log


@pytest.fixture(scope="module")
def hub(installation: Installation, requested: Path) -> Iterator[None]:
    """Run a hub on the node."""
    program = [sys.executable, slow_hub.__file__, str(installation.prepared.checkpoint)]
    command = installation.cluster.inside([*program, NODE_IP, str(HUB_PORT), str(requested)])
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def prefetched(
    strict: Namespace, hub: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Namespace]:
    """Return a namespace with a volume that any endpoint's claim of this name is bound to."""
    assert hub is None
    directory = tmp_path_factory.mktemp("volume")
    directory.chmod(0o777)
    strict.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{NAME}-model-cache"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": STORAGE_CLASS,
                "hostPath": {"path": str(directory), "type": "Directory"},
                "claimRef": {"namespace": strict.name, "name": f"{NAME}-model-cache"},
            },
        }
    )
    yield strict
    strict.kubectl("delete", "msd", NAME, "--ignore-not-found", "--wait=false")


def edit(namespace: Namespace, revision: str) -> None:
    """Set another revision of the model."""
    patch = f'{{"spec": {{"model": {{"revision": "{revision}"}}}}}}'
    namespace.kubectl("patch", "msd", NAME, "--type=merge", f"--patch={patch}")


def test_the_first_pod_finds_its_model_on_the_claim(prefetched: Namespace) -> None:
    prefetched.apply(resource(NAME, SPEC))

    job = prefetched.wait_for("job", JOB)
    assert prefetched.get("deployment", NAME) is None
    assert "deployment" not in str(job["spec"]["template"]["metadata"]["labels"])
    prefetched.wait_until_ready(NAME)

    log = prefetched.kubectl("logs", pod_of(prefetched, NAME), "-c", "fetch")
    assert "tests/tiny@main is already present" in log
    prefetched.until(lambda: prefetched.get("job", JOB) is None, "the Job to be deleted", 30)


def test_the_next_revision_is_fetched_while_the_old_one_serves(
    prefetched: Namespace, requested: Path
) -> None:
    before = pod_of(prefetched, NAME)
    requested.write_text("")  # the weights are sent slowly now

    edit(prefetched, "next")
    condition = prefetched.wait_for_reason(NAME, "Prefetching")
    prefetched.until(lambda: slow_hub.WEIGHTS in requested.read_text(), "a fetch of the weights")
    assert "1 replica of the earlier configuration answers" in condition["message"]
    assert pod_of(prefetched, NAME) == before
    assert prefetched.condition(NAME, "Available")["status"] == "True"
    pods = prefetched.all_of("pod")
    (pod,) = [one for one in pods if one["metadata"]["name"].startswith(JOB)]
    assert pod["spec"]["affinity"]["podAffinity"], "it runs where the claim is mounted"

    # The next attempt is sent the weights at once.
    prefetched.kubectl("delete", "pod", JOB_PODS, "--wait=false")
    prefetched.until(lambda: pod_of(prefetched, NAME) not in ("", before), "the next pod", 120)
    prefetched.wait_until_ready(NAME)
    log = prefetched.kubectl("logs", pod_of(prefetched, NAME), "-c", "fetch")
    assert "tests/tiny@next is already present" in log
    prefetched.until(lambda: prefetched.get("job", JOB) is None, "the Job to be deleted", 30)
