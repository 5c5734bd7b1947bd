"""Memory failures are counted once and remedied, also if the operator or the pods are killed.

A kubelet's part is played by the tests: they write into a pod's status how its container exited.
"""

import json
from pathlib import Path
from signal import SIGKILL

from cluster_namespace import Namespace, Object, resource
from exited_servers import exited_status
from mistral_server.contract import FailureClass, TerminationReport
from operator_process import OperatorProcess, running_operator

TOO_LONG = {"engine": {"contextLength": 131072}}
APPLY = {**TOO_LONG, "oom": {"policy": "Apply", "quietSeconds": 10}}
KV_TOO_SMALL = TerminationReport(
    failure=FailureClass.KV_CACHE_TOO_SMALL,
    stage="profiling",
    phase="kv-cache",
    message="The engine exited.",
    evidence="the estimated maximum model length is 57344",
    suggest={"engine.context_length": 57344},
)


def pods(namespace: Namespace, name: str = "small") -> list[Object]:
    """Return the pods of an endpoint that stay."""
    selector = f"--selector=inference.mistral-small.io/deployment={name}"
    items = json.loads(namespace.kubectl("get", "pod", selector, "-o", "json"))["items"]
    return [one for one in items if "deletionTimestamp" not in one["metadata"]]


def let_end(namespace: Namespace, number: int = 1, report: TerminationReport = KV_TOO_SMALL) -> str:
    """Write an exit of the server into the status of the endpoint's pod; return the pod's name."""
    namespace.until(lambda: len(pods(namespace)) == 1, "one pod")
    name = str(pods(namespace)[0]["metadata"]["name"])
    patch = json.dumps(exited_status(name, number, report))
    namespace.kubectl("patch", "pod", name, "--subresource=status", "--patch", patch)
    return name


def oom(namespace: Namespace) -> Object:
    """Return the memory failures in the status."""
    status: Object = (namespace.get("msd", "small") or {}).get("status", {}).get("oom", {})
    return status


def count(namespace: Namespace) -> int:
    """Return the number of counted memory failures."""
    return sum(one["count"] for one in oom(namespace).get("totals", []))


def until_counted(namespace: Namespace, expected: int) -> None:
    """Wait until so many are counted, and see that it stays so."""
    namespace.until(lambda: count(namespace) == expected, f"{expected} counted")


def test_an_end_is_counted_once_though_the_operator_is_killed_and_the_pod_deleted(
    unserved: Namespace, log: Path
) -> None:
    with running_operator(unserved.cluster, log) as operator:
        unserved.apply(resource("small", TOO_LONG))
        unserved.wait_for_reason("small", "Ready")
        operator.stop(SIGKILL)
        let_end(unserved)
        operator.start()
        operator.until_acting()
        until_counted(unserved, 1)

        pod = let_end(unserved, 2)
        unserved.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        until_counted(unserved, 2)

        operator.stop(SIGKILL)
        operator.start()
        operator.until_acting()
        assert operator.metric("mistral_operator_oom_events_total") == 2
        assert count(unserved) == 2


def test_apply_changes_the_setting_that_is_too_large_and_the_status_says_so(
    served: Namespace, shared_operator: OperatorProcess
) -> None:
    served.apply(resource("small", APPLY))
    served.wait_for_reason("small", "Ready")
    before = served.get("msd", "small")

    first = let_end(served)

    served.until(
        lambda: [one["metadata"]["name"] for one in pods(served)] not in ([first], []), "a new pod"
    )
    settings = pods(served)[0]["spec"]["containers"][0]["env"][0]["value"]
    assert json.loads(settings)["engine"]["context_length"] == 57344
    assert oom(served)["overrides"] == {"contextLength": 57344}
    # Fake pods become ready at once; then it has to be quiet.
    served.wait_for_reason("small", "Remedied", "OutOfMemory", seconds=60)
    step = oom(served)["steps"][0]
    assert (step["before"], step["after"], step["outcome"]) == ("131072", "57344", "Helped")
    after = served.get("msd", "small")
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"], "the spec is the user's"
    events = json.loads(served.kubectl("get", "events", "-o", "json"))["items"]
    ours = [one for one in events if one["involvedObject"]["kind"] == "MistralSmallDeployment"]
    # Of a condition that changed twice, a slow cluster has one Event with a count of two.
    assert all(one["firstTimestamp"] and one["lastTimestamp"] and one["count"] for one in ours)
    counts = sorted((one["reason"], one["count"]) for one in ours)
    remedies = [one for one in counts if one[0].startswith("Remedy")]
    assert remedies == [("RemedyApplied", 1), ("RemedyHelped", 1)]


def test_recommend_says_the_same_and_changes_nothing(served: Namespace) -> None:
    served.apply(resource("small", TOO_LONG))
    served.wait_for_reason("small", "Ready")

    first = let_end(served)

    message = served.wait_for_reason("small", "KVCacheTooSmall", "OutOfMemory")["message"]
    assert "Set spec.engine.contextLength to 57344 (currently 131072)" in message
    assert oom(served)["recommendation"]["after"] == "57344"
    assert [one["metadata"]["name"] for one in pods(served)] == [first]


def test_an_endpoint_that_cannot_start_is_stopped_and_an_edit_starts_it_again(
    served: Namespace,
) -> None:
    served.apply(resource("small", {"startupSeconds": 900}))
    served.wait_for_reason("small", "Ready")
    load = KV_TOO_SMALL.model_copy(update={"failure": FailureClass.CUDA_OOM_LOAD})
    for number in range(1, 4):
        let_end(served, number, load)
        until_counted(served, number)

    message = served.wait_for_reason("small", "CrashLoop")["message"]
    assert "stopped after 3 consecutive CudaOomLoad failures" in message
    served.until(lambda: pods(served) == [], "no pod")

    served.apply(resource("small", {"startupSeconds": 901}))

    served.wait_for_reason("small", "Ready")
    assert count(served) == 3
