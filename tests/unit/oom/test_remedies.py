"""What is tried against a memory failure, one step at a time, and when it ends."""

import pytest

from builders import Object, merged
from memory_failures import LONG, Endpoint, changes, endpoint
from mistral_operator.fit.gpu_memory import ENGINES
from mistral_server.contract import FailureClass

F = FailureClass


# --- The first step against each class ------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "kind", "phase", "fits", "change"),
    [
        (LONG, F.KV_CACHE_TOO_SMALL, "kv-cache", 57344, "contextLength 57344"),
        (LONG, F.KV_CACHE_TOO_SMALL, "kv-cache", 57343, "contextLength 56320"),
        (LONG, F.KV_CACHE_TOO_SMALL, "kv-cache", None, "contextLength 65536"),
        ({}, F.KV_CACHE_TOO_SMALL, "kv-cache", None, "gpuMemoryUtilization 0.93"),
        ({}, F.KV_CACHE_NONE, "kv-cache", None, "gpuMemoryUtilization 0.93"),
        (
            {"engine": {"gpuMemoryUtilization": 0.57}},
            F.KV_CACHE_NONE,
            "kv-cache",
            None,
            "gpuMemoryUtilization 0.6",
        ),
        ({}, F.CUDA_OOM_WARMUP, "warm-up", None, "gpuMemoryUtilization 0.87"),
        ({}, F.CUDA_OOM_WARMUP, "profiling", None, "maxBatchedTokens 4096"),
        ({}, F.CUDA_OOM_RUNTIME, "serving", None, "gpuMemoryUtilization 0.87"),
        ({}, F.CUDA_OOM_RUNTIME, "images", None, "maxBatchedTokens 4096"),
        ({}, F.SHM_EXHAUSTED, "start", None, "sharedMemory 4Gi"),
        (
            {"engine": {"kvOffload": {"size": "16Gi"}}},
            *(F.SHM_EXHAUSTED, "start", None, "sharedMemory 4Gi"),
        ),
        ({}, F.HOST_OOM, "", None, "perPrompt 4"),
        (
            {
                "pod": {"resources": {"limits": {"memory": "32Gi"}}},
                "oom": {"maxMemory": "48Gi"},
            },
            F.HOST_OOM,
            "",
            None,
            "memory 48Gi",
        ),
    ],
)
def test_the_first_step_against_a_class(
    spec: Object, kind: FailureClass, phase: str, fits: int | None, change: str
) -> None:
    case = endpoint(spec)
    case.fail(kind, phase=phase, fits=fits)

    assert [f"{setting} {after}" for setting, after, _ in changes(case)] == [change]


@pytest.mark.parametrize(("ranks", "gib"), [(1, "0.22"), (2, "0.13"), (4, "0.08"), (8, "0.06")])
def test_the_memory_that_smaller_steps_free_is_that_of_the_gpus_in_use(
    ranks: int, gib: str
) -> None:
    case = endpoint({"engine": {"tensorParallelSize": ranks}, "oom": {"policy": "Recommend"}})
    case.fail(F.CUDA_OOM_WARMUP, phase="profiling")

    assert case.oom is not None
    assert case.oom.recommendation is not None
    assert (
        case.oom.recommendation.reason
        == f"every 1024 batched tokens take about {gib} GiB of each GPU"
    )


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_versions_of_vllm_hardly_differ_in_what_a_token_of_a_step_takes(ranks: int) -> None:
    figures = [row.per_1024_tokens_on(ranks) for row in ENGINES]

    assert max(figures) - min(figures) < 0.015


def test_the_changed_setting_is_rendered_and_the_spec_is_not() -> None:
    case = endpoint(LONG)
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)

    assert case.running.engine.context_length == 57344
    assert case.resource.spec.engine.context_length == 131072


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({}, F.CUDA_OOM_LOAD),
        (merged(LONG, {"oom": {"minContextLength": 65536}}), F.KV_CACHE_TOO_SMALL),
        ({"images": {"perPrompt": 1}}, F.HOST_OOM),
        ({"sharedMemory": "8Gi"}, F.SHM_EXHAUSTED),
    ],
)
def test_where_nothing_is_allowed_or_helps_nothing_is_changed(
    spec: Object, kind: FailureClass
) -> None:
    limits = {"oom": {"policy": "Apply", "maxGpuMemoryUtilization": 0.9}}
    case = endpoint(spec, limits)
    case.fail(kind, fits=57344)

    assert case.oom is not None
    assert case.oom.exhausted
    assert case.oom.overrides is None


def test_a_busy_gpu_is_waited_for_before_anything_is_changed() -> None:
    case = endpoint()
    for _ in range(2):
        case.fail(F.GPU_BUSY)
        assert changes(case) == []

    case.fail(F.GPU_BUSY)

    assert changes(case) == [("gpuMemoryUtilization", "0.87", "Trying")]


# --- Outcomes of a step ---------------------------------------------------------------------------


def test_a_step_after_which_all_is_quiet_has_helped() -> None:
    case = endpoint(LONG)
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)
    case.look(quiet=True, ready=True)

    assert changes(case) == [("contextLength", "57344", "Helped")]
    assert case.oom is not None
    assert case.oom.active is None
    assert case.running.engine.context_length == 57344


def test_a_step_after_which_the_same_comes_back_is_taken_back() -> None:
    case = endpoint()
    case.fail(F.CUDA_OOM_WARMUP)
    case.fail(F.CUDA_OOM_WARMUP)

    assert changes(case) == [
        ("gpuMemoryUtilization", "0.87", "Reverted"),
        ("maxSequences", "128", "Trying"),
    ]
    assert case.running.engine.gpu_memory_utilization == 0.9


def test_a_step_after_which_something_else_comes_is_kept() -> None:
    case = endpoint()
    case.fail(F.KV_CACHE_NONE)
    case.fail(F.CUDA_OOM_WARMUP)

    # Not back to 0.90: with that there was no KV cache.
    assert changes(case) == [
        ("gpuMemoryUtilization", "0.93", "Kept"),
        ("maxSequences", "128", "Trying"),
    ]


def test_a_step_that_breaks_the_start_otherwise_is_taken_back() -> None:
    case = endpoint()
    case.fail(F.CUDA_OOM_WARMUP)
    case.fail(F.INVALID_CONFIGURATION)

    assert changes(case)[0] == ("gpuMemoryUtilization", "0.87", "Reverted")
    assert changes(case)[1][2] == "Trying"


def test_a_failure_of_a_pod_with_other_settings_does_not_evaluate_a_step() -> None:
    case = endpoint({"replicas": 3})
    case.fail(F.CUDA_OOM_WARMUP)
    old = case.visible[0]
    case.visible += [type(old)("late", "small-2", old.configuration, old.failure)]
    case.look()

    assert changes(case) == [("gpuMemoryUtilization", "0.87", "Trying")]
    assert case.oom is not None
    assert case.oom.totals[0].count == 2


def test_when_the_steps_are_used_up_the_settings_are_the_users_again() -> None:
    case = endpoint({"oom": {"maxSteps": 2, "stopAfter": 0}})
    for _ in range(3):
        case.fail(F.CUDA_OOM_WARMUP)

    assert [one[2] for one in changes(case)] == ["Reverted", "Reverted"]
    assert case.oom is not None
    assert case.oom.exhausted
    assert case.running == case.resource.spec


def test_what_has_helped_stays_when_a_later_class_cannot_be_helped() -> None:
    case = endpoint(LONG, {"oom": {"stopAfter": 0}})
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)
    case.look(quiet=True, ready=True)
    for _ in range(8):
        case.fail(F.CUDA_OOM_RUNTIME)

    assert case.oom is not None
    assert case.oom.exhausted
    assert case.running.engine.context_length == 57344
    assert case.running.engine.gpu_memory_utilization == 0.9


def test_an_edit_of_the_spec_starts_anew() -> None:
    case = endpoint(LONG)
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)
    case.spec = merged(case.spec, {"engine": {"contextLength": 40960}})
    case.look()

    assert changes(case) == []
    assert case.running.engine.context_length == 40960
    assert case.oom is not None
    assert case.oom.totals[0].count == 1


def test_an_autoscaler_is_no_edit() -> None:
    case = endpoint(LONG)
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)
    case.spec = merged(case.spec, {"replicas": 5})
    case.look()

    assert case.running.engine.context_length == 57344


# --- Other policies -------------------------------------------------------------------------------


def test_recommend_says_what_apply_would_do_and_changes_nothing() -> None:
    case = Endpoint({"engine": {"contextLength": 131072}})
    case.fail(F.KV_CACHE_TOO_SMALL, fits=57344)

    assert case.oom is not None
    assert case.oom.recommendation is not None
    assert case.oom.recommendation.setting == "spec.engine.contextLength"
    assert case.oom.recommendation.after == "57344"
    assert case.running == case.resource.spec


def test_observe_counts_and_recommends_nothing() -> None:
    case = Endpoint({"oom": {"policy": "Observe"}})
    case.fail(F.CUDA_OOM_WARMUP)

    assert case.oom is not None
    assert case.oom.totals[0].count == 1
    assert case.oom.recommendation is None
    assert case.oom.overrides is None
