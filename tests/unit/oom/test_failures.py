"""Why a container exited: by the server's report, else by the kubelet, else by its last lines."""

import pytest

from builders import container as running
from builders import crashed_container, ended, failed_pod, fetch, pod_body, termination
from mistral_operator.oom import failures_of
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import FailureClass, TerminationReport

KV_TOO_SMALL = TerminationReport(
    failure=FailureClass.KV_CACHE_TOO_SMALL,
    stage="profiling",
    phase="kv-cache",
    message="The engine exited.",
    evidence="ValueError: the estimated maximum model length is 1344.",
    suggest={"engine.context_length": 1344},
)
OOM_REPORT = termination(FailureClass.HOST_OOM, "The pod ran out of memory.")
LOG_OF_A_KILLED_SERVER = (
    '(EngineCore pid=7)   File "gpu_worker.py", line 9, in load_model\n'
    "(EngineCore pid=7) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB.\n"
)


def test_the_report_of_the_server_says_class_phase_and_what_fits() -> None:
    pod = pod_body(crashed_container(81, message=KV_TOO_SMALL.to_bytes().decode()))

    (result,) = failures_of([pod_facts(pod)])

    assert result.failure is FailureClass.KV_CACHE_TOO_SMALL
    assert result.phase == "kv-cache"
    assert result.suggest == {"engine.context_length": 1344}
    assert result.evidence == KV_TOO_SMALL.evidence
    assert result.pod == "small-1"


@pytest.mark.parametrize(
    ("container", "failure"),
    [
        (crashed_container(137, "OOMKilled"), FailureClass.HOST_OOM),
        (fetch(crashed_container(137, "OOMKilled")), FailureClass.HOST_OOM),
        (crashed_container(137, message=LOG_OF_A_KILLED_SERVER), FailureClass.CUDA_OOM_LOAD),
        # Of what something else adds to a pod, nothing is a failure of the endpoint.
        (crashed_container(137, "OOMKilled", name="istio-proxy"), None),
        (crashed_container(1, name="miner", message=OOM_REPORT), None),
        (crashed_container(137, "Error"), None),
        (crashed_container(0, "Completed"), None),
        (crashed_container(1, message="Killed"), None),
        (fetch(crashed_container(1, message=LOG_OF_A_KILLED_SERVER)), None),
        (running(), None),
    ],
)
def test_without_a_report_the_kubelet_and_the_last_lines_are_asked(
    container: dict[str, object], failure: FailureClass | None
) -> None:
    results = failures_of([pod_facts(pod_body(container))])

    assert [one.failure for one in results] == ([] if failure is None else [failure])


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("The node was low on resource: memory. Threshold quantity: 100Mi", FailureClass.HOST_OOM),
        ('Usage of EmptyDir volume "shm" exceeds the limit "1Gi". ', FailureClass.SHM_EXHAUSTED),
        ("The node was low on resource: ephemeral-storage.", None),
    ],
)
def test_an_evicted_pod_counts_if_memory_was_the_reason(
    message: str, failure: FailureClass | None
) -> None:
    results = failures_of([pod_facts(failed_pod("Evicted", message))])

    assert [one.failure for one in results] == ([] if failure is None else [failure])


def test_an_end_keeps_its_identity_when_the_container_starts_again() -> None:
    message = termination(FailureClass.HOST_OOM, "x")
    end = ended(87, message=message, containerID="containerd://one", finishedAt="2026-03-01T10:00Z")
    fresh = pod_body(running(state=end))
    restarted = pod_body(running(lastState=end, restartCount=1))

    (first,) = failures_of([pod_facts(fresh)])
    (second,) = failures_of([pod_facts(restarted)])

    assert first.identity == second.identity


def test_both_ends_that_a_kubelet_knows_are_found() -> None:
    message = termination(FailureClass.HOST_OOM, "x")
    ends = [ended(87, message=message, containerID=f"containerd://{number}") for number in range(2)]
    pod = pod_body(running(lastState=ends[0], state=ends[1]))

    assert len({one.identity for one in failures_of([pod_facts(pod)])}) == 2
