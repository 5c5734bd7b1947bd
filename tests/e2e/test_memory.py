"""Real memory failures on a real node: seen, counted, explained and, where allowed, remedied."""

import json
import time
from datetime import datetime

import pytest

from cluster_namespace import READY_SECONDS, Namespace, Object, resource
from e2e_endpoint import pod_of
from mistral_dev.errors import DevError

CLAIM: Object = {"persistentVolumeClaim": {"claimName": "tiny-model"}}
SPEC: Object = {
    "device": "cpu",
    "model": {"id": "tiny", "dtype": "float32", "source": CLAIM},
    "images": {"perPrompt": 1},
    "engine": {
        "tensorParallelSize": 1,
        "contextLength": 4096,
        "maxSequences": 4,
        "maxBatchedTokens": 2048,
        # 1 KiB a token: room for 3,072 of the 4,096.
        "kvCache": {"memory": "3Mi"},
    },
    "sharedMemory": "512Mi",
    "startupSeconds": 600,
    "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}},
}


def with_policy(policy: str, **changes: Object) -> Object:
    oom = {"policy": policy, "minContextLength": 1024, "quietSeconds": 10}
    return {**SPEC, **changes, "oom": oom}


def status(namespace: Namespace, name: str) -> Object:
    result: Object = (namespace.get("msd", name) or {}).get("status", {})
    return result


def oom(namespace: Namespace, name: str) -> Object:
    result: Object = status(namespace, name).get("oom", {})
    return result


def wait_for_class(namespace: Namespace, name: str, failure: str) -> None:
    """Wait for a memory failure; it has to show within a minute of the exit."""

    def ends() -> list[Object]:
        return [one for one in oom(namespace, name).get("events", ()) if one["class"] == failure]

    namespace.until(lambda: bool(ends()), failure, READY_SECONDS)
    ended = datetime.fromisoformat(ends()[0]["time"]).timestamp()
    assert time.time() - ended < 60, "it took longer than a minute to show"


def steps(namespace: Namespace, name: str) -> list[tuple[str, str, str, str]]:
    """Return what was tried, as setting, before, after and outcome."""
    return [
        (one["setting"], one["before"], one["after"], one["outcome"])
        for one in oom(namespace, name)["steps"]
    ]


def test_two_lacks_are_remedied_one_after_the_other(strict: Namespace) -> None:
    """Shared memory that is too small is enlarged, then a context that is too long shortened."""
    two_ranks = {**SPEC["engine"], "tensorParallelSize": 2}
    strict.apply(resource("apply", with_policy("Apply", engine=two_ranks)))
    fill_shared_memory(strict, "apply")

    wait_for_class(strict, "apply", "ShmExhausted")
    strict.until(lambda: "overrides" in oom(strict, "apply"), "a step")
    assert oom(strict, "apply")["overrides"] == {"sharedMemory": "1Gi"}

    wait_for_class(strict, "apply", "KVCacheTooSmall")
    strict.until(lambda: "contextLength" in oom(strict, "apply")["overrides"], "the next step")
    length = oom(strict, "apply")["overrides"]["contextLength"]
    assert 1024 <= length < 4096

    strict.wait_until_ready("apply")
    strict.wait_for_reason("apply", "Remedied", "OutOfMemory", seconds=60)
    assert steps(strict, "apply") == [
        ("spec.sharedMemory", "512Mi", "1Gi", "Helped"),
        ("spec.engine.contextLength", "4096", str(length), "Helped"),
    ]
    assert oom(strict, "apply")["overrides"] == {"sharedMemory": "1Gi", "contextLength": length}
    strict.until(
        lambda: status(strict, "apply").get("effective", {}).get("contextLength") == length,
        "the effective length",
    )
    strict.kubectl("delete", "msd", "apply")


def test_a_container_over_its_memory_limit_ran_out_of_host_memory(strict: Namespace) -> None:
    limited = {"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "300Mi"}}}
    strict.apply(resource("limited", with_policy("Recommend", pod=limited)))

    wait_for_class(strict, "limited", "HostOom")

    condition = strict.condition("limited", "OutOfMemory")
    assert condition["status"] == "True"
    assert "spec.pod.resources.limits" in condition["message"]
    assert "overrides" not in oom(strict, "limited")
    strict.kubectl("delete", "msd", "limited")


def fill_shared_memory(namespace: Namespace, name: str) -> None:
    """Leave 112 of 512 MiB, as soon as the container runs; the engine looks seconds later."""
    fill = "f = open('/dev/shm/filler', 'wb'); f.write(bytes(400 << 20))"
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            namespace.kubectl("exec", pod_of(namespace, name), "--", "python3", "-c", fill)
        except DevError:
            if time.monotonic() > deadline:
                pytest.fail("the container did not run")
            time.sleep(0.5)
        else:
            return


def test_events_tell_what_was_changed_and_why(strict: Namespace) -> None:
    events = json.loads(strict.kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
    notes = [one["note"] for one in events if one["reason"] == "RemedyApplied"]

    assert any("spec.engine.contextLength" in note and "instead of 4096" in note for note in notes)
    assert any("spec.sharedMemory 1Gi instead of 512Mi" in note for note in notes)
