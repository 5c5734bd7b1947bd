"""When an endpoint that cannot start is given up."""

import pytest

from memory_failures import Endpoint
from mistral_server.contract import FailureClass

F = FailureClass


@pytest.mark.parametrize("policy", ["Observe", "Recommend"])
def test_a_start_that_cannot_succeed_is_given_up_after_three_times(policy: str) -> None:
    case = Endpoint({"oom": {"policy": policy}})
    for _ in range(2):
        case.fail(F.CUDA_OOM_LOAD)
        assert case.running.replicas == 1

    case.fail(F.CUDA_OOM_LOAD)

    assert case.oom is not None
    assert case.oom.stopped
    assert case.running.replicas == 0


@pytest.mark.parametrize(
    "kind",
    [F.NOT_WRITABLE, F.INVALID_CONFIGURATION, F.GPU_UNSUPPORTED, F.MODEL_DAMAGED],
)
def test_so_is_one_that_fails_for_another_lasting_cause(kind: FailureClass) -> None:
    case = Endpoint({})
    for _ in range(3):
        case.fail(kind)

    assert case.oom is not None
    assert case.oom.stopped
    assert case.oom.totals == []


@pytest.mark.parametrize("kind", [F.CUDA_OOM_RUNTIME, F.HOST_OOM, F.GPU_BUSY, F.MODEL_UNAVAILABLE])
def test_a_cause_that_may_pass_is_never_given_up(kind: FailureClass) -> None:
    case = Endpoint({})
    for _ in range(9):
        case.fail(kind)

    assert case.oom is None or not case.oom.stopped


def test_replicas_get_three_tries_each_and_zero_means_no_limit() -> None:
    many, endless = Endpoint({"replicas": 4}), Endpoint({"oom": {"stopAfter": 0}})
    for _ in range(11):
        many.fail(F.CUDA_OOM_LOAD)
        endless.fail(F.CUDA_OOM_LOAD)
    assert many.oom is not None
    assert endless.oom is not None
    assert not many.oom.stopped

    many.fail(F.CUDA_OOM_LOAD)

    assert many.oom.stopped
    assert not endless.oom.stopped


def test_an_endpoint_that_answers_is_not_stopped_for_one_bad_replica() -> None:
    case = Endpoint({"replicas": 2})
    for _ in range(9):
        case.fail(F.CUDA_OOM_WARMUP, ready=True)

    assert case.oom is not None
    assert not case.oom.stopped


def test_suspending_and_resuming_starts_again() -> None:
    case = Endpoint({})
    for _ in range(3):
        case.fail(F.CUDA_OOM_LOAD)
    case.spec = {"suspend": True}
    case.look()
    case.spec = {}
    case.look()

    assert case.oom is not None
    assert not case.oom.stopped
    assert case.running.replicas == 1


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_failures_while_a_replica_answers_do_not_count(replicas: int) -> None:
    case = Endpoint({"replicas": replicas})
    limit = 3 * replicas
    for _ in range(limit - 1):
        case.fail(F.CUDA_OOM_LOAD)
    case.fail(F.CUDA_OOM_LOAD, ready=True)

    for _ in range(limit):
        assert case.oom is not None
        assert not case.oom.stopped, "one replica that is unready for a moment stops nothing"
        case.fail(F.CUDA_OOM_LOAD)

    assert case.oom is not None
    assert (case.oom.stopped, case.oom.streak) == (True, limit)
