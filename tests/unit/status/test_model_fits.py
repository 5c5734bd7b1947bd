"""The condition ModelFits of a resource on given nodes."""

from dataclasses import replace
from typing import Any

import pytest

from builders import (
    EARLIER,
    NOW,
    deployment_body,
    merged,
    node_body,
    ready_pod,
    resource,
    signal,
)
from mistral_operator.api import ConditionType, Effective, Reason, Status
from mistral_operator.api.status import Problem
from mistral_operator.fit import fit
from mistral_operator.status import StatusInput, report, report_invalid
from mistral_operator.status.events import transition_events
from mistral_operator.status.model_fits import fit_request
from status_inputs import condition_of, previously, status_input, with_signals
from status_model_fit_cases import FITTING


@pytest.mark.parametrize(("spec", "nodes", "status", "reason"), FITTING.values(), ids=FITTING)
def test_the_model_fits_or_does_not(
    spec: Any, nodes: tuple[Any, ...], status: str, reason: Reason
) -> None:
    condition_ = condition_of(
        report(status_input(spec=spec, nodes=nodes), NOW), ConditionType.MODEL_FITS
    )

    assert (condition_.status, condition_.reason) == (status, reason)
    assert condition_.message


LABELS = {
    "nvidia.com/gpu": "no node with enough GPUs has the label nvidia.com/gpu.memory:",
    "example.com/h100": "no label of a node has the memory of example.com/h100:",
}


@pytest.mark.parametrize(("name", "sentence"), LABELS.items(), ids=LABELS)
def test_the_message_names_a_label_that_is_read(name: str, sentence: str) -> None:
    spec = {"pod": {"gpu": {"resourceName": name}}}
    fits = condition_of(report(status_input(spec=spec), NOW), ConditionType.MODEL_FITS)

    assert fits.message.startswith(sentence)
    assert "set spec.pod.gpu.memory" in fits.message


@pytest.mark.parametrize(
    ("arguments", "eager"),
    [
        ([], False),
        (["--enforce-eager"], True),
        (["--enforce_eager"], True),
        (["--enforce-eager", "--seed=1", "--enforce-eager"], True),
        # vLLM refuses the flag with a value: nothing is known to be off.
        (["--enforce-eager=True"], False),
        (["--enforce-eager=False"], False),
        (["--max-cudagraph-capture-size=1"], False),
    ],
)
def test_cuda_graphs_are_counted_unless_an_argument_turns_them_off(
    arguments: list[str], eager: bool
) -> None:
    spec = resource({"engine": {"extraArgs": arguments}}).spec

    assert fit_request(spec, 80 * 1024**3).eager is eager


@pytest.mark.parametrize(
    ("arguments", "blocks", "size"),
    [
        ([], None, 16),
        (["--num-gpu-blocks-override=10"], 10, 16),
        (["--num_gpu_blocks_override=10", "--num-gpu-blocks-override=20"], 20, 16),
        (["--num-gpu-blocks-override=20", "--block-size=32"], 20, 32),
        (["--num-gpu-blocks-override=-1"], 0, 16),
        (["--num-gpu-blocks-override=" + "9" * 400], 10**12, 16),
        # vLLM refuses these and says so itself.
        (["--num-gpu-blocks-override"], None, 16),
        (["--num-gpu-blocks-override=many", "--block-size=", "--block-size=0"], None, 16),
    ],
)
def test_the_number_of_blocks_is_that_of_the_last_argument(
    arguments: list[str], blocks: int | None, size: int
) -> None:
    request = fit_request(resource({"engine": {"extraArgs": arguments}}).spec, 80 * 1024**3)

    assert (request.cache_blocks, request.block_tokens) == (blocks, size)
    assert fit(request).kv_cache_tokens % size == 0


@pytest.mark.parametrize(
    ("ready", "version", "tokens"),
    [
        pytest.param(1, "0.26.0", 160_736, id="an older version runs"),
        pytest.param(1, "0.32.0", 149_104, id="the pinned version runs"),
        pytest.param(1, "0.33.0", 149_104, id="a newer version runs"),
        pytest.param(1, "nightly", 149_104, id="a version without a number runs"),
        pytest.param(1, None, 149_104, id="the engine did not report its version"),
        pytest.param(0, "0.26.0", 149_104, id="no replica is ready"),
    ],
)
def test_the_version_that_runs_decides_and_else_the_pinned_one(
    ready: int, version: str | None, tokens: int
) -> None:
    one_gpu = status_input(
        ready_pod("small-0"),
        spec={"engine": {"tensorParallelSize": 1}},
        deployment=deployment_body(ready=ready),
        nodes=(node_body(memory_mib=81559),),
    )
    case = with_signals(one_gpu, small_0=signal(effective={"vllm_version": version}))

    message = condition_of(report(case, NOW), ConditionType.MODEL_FITS).message

    assert f"the KV cache of a replica holds {tokens} tokens" in message


OLDER = {"image": "me/vllm:0.26", "engine": {"tensorParallelSize": 1, "contextLength": 51_200}}


def older(
    *, ready: int = 1, version: str | None = "0.26.0", spec: Any = None, **deployment: Any
) -> StatusInput:
    """Return an endpoint of one replica whose settings fit with vLLM 0.26 and not with 0.32."""
    tight = {"engine": {"gpuMemoryUtilization": 0.7}}
    pods = (ready_pod("small-0"),) if ready else ()
    inputs = status_input(
        *pods,
        spec=merged(merged(OLDER, tight), spec or {}),
        deployment=deployment_body(ready=ready, **deployment),
        nodes=(node_body(memory_mib=81559),),
    )
    if version is None:
        return inputs
    return with_signals(inputs, small_0=signal(effective={"vllm_version": version}))


def fits_of(status: Status) -> tuple[str, str, str]:
    """Return what is said of ModelFits, and since when."""
    condition_ = condition_of(status, ConditionType.MODEL_FITS)
    return condition_.status, condition_.message, condition_.last_transition_time


def test_a_restart_of_the_only_replica_changes_nothing_of_the_verdict() -> None:
    up = report(older(), EARLIER)
    moments = {
        "it is down": older(ready=0),
        "still down": older(ready=0),
        "it is back and has not said its version yet": older(version=None),
        "the operator restarts, too": older(version=None),
        "it says its version": older(),
    }

    status = up
    for moment, inputs in moments.items():
        before = Status.model_validate(status.model_dump(by_alias=True, exclude_none=True))
        status = report(previously(inputs, before), NOW)
        assert fits_of(status) == fits_of(up), moment
        events = transition_events(inputs.resource, before, status, NOW)
        assert "ModelFits" not in str(events), moment

    assert fits_of(up)[0] == "True"


def test_a_status_of_an_endpoint_that_is_down_is_written_once() -> None:
    down = report(previously(older(ready=0), report(older(), EARLIER)), NOW)

    assert report(previously(older(ready=0), down), "2027-01-01T00:00:00Z") == down


@pytest.mark.parametrize(
    ("change", "remembered"),
    [
        pytest.param({"engine": {"contextLength": 50_000}}, True, id="a setting"),
        pytest.param({"replicas": 0}, True, id="the number of replicas"),
        pytest.param({"suspend": True}, True, id="a suspension"),
        pytest.param({"image": "me/vllm:0.32"}, False, id="the image"),
    ],
)
def test_the_version_is_remembered_until_the_image_changes(change: Any, remembered: bool) -> None:
    edited = previously(older(ready=0, spec=change), report(older(), EARLIER))

    status = report(edited, NOW)

    assert fits_of(status)[0] == ("True" if remembered else "False")
    assert (status.engine is not None) is remembered


def test_another_image_of_the_operator_drops_the_version_where_the_resource_names_none() -> None:
    first, second = (
        replace(older(ready=ready, spec={"image": None}), server_image=image)
        for ready, image in ((1, "server:1"), (0, "server:2"))
    )
    up = report(first, EARLIER)

    assert up.engine is not None
    assert report(previously(second, up), NOW).engine is None


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(older(replicas=2, updated=1), id="pods of the image before are left"),
        pytest.param(older(generation=2), id="the Deployment's controller lags behind"),
        pytest.param(
            replace(older(), problems=(Problem(Reason.APPLY_FAILED, "no"),)),
            id="the image could not be applied",
        ),
        pytest.param(older(version=None), id="nothing was heard"),
    ],
)
def test_the_version_is_not_taken_for_that_of_an_image_that_may_not_run(case: StatusInput) -> None:
    before = Status(effective=Effective(vllm_version="0.26.0"))

    assert report(previously(case, before), NOW).engine is None


def test_replicas_of_different_versions_do_not_take_turns() -> None:
    both = status_input(
        ready_pod("small-0"), ready_pod("small-1"), deployment=deployment_body(2, ready=2)
    )
    first, second = (signal(effective={"vllm_version": one}) for one in ("0.26.0", "0.32.0"))

    one_way = report(with_signals(both, small_0=first, small_1=second), NOW)
    other_way = report(previously(with_signals(both, small_0=second, small_1=first), one_way), NOW)

    assert one_way.engine is not None
    assert other_way.engine == one_way.engine


def test_a_pod_that_is_going_does_not_speak_for_the_image() -> None:
    terminating = ready_pod("small-0", deletionTimestamp=EARLIER)
    inputs = status_input(terminating, deployment=deployment_body(ready=1))

    spoken = with_signals(inputs, small_0=signal(effective={"vllm_version": "0.26.0"}))

    assert report(spoken, NOW).engine is None


def test_a_spec_that_cannot_be_read_leaves_the_version_as_it_is() -> None:
    up = report(older(), EARLIER)
    broken = previously(status_input(), up)

    assert report_invalid(broken, NOW).engine == up.engine


def test_what_does_not_fit_is_told_what_would_help() -> None:
    small = status_input(
        spec={"engine": {"tensorParallelSize": 1}}, nodes=(node_body(memory_mib=46068),)
    )

    message = condition_of(report(small, NOW), ConditionType.MODEL_FITS).message

    assert "weights take 44.8 of" in message
    assert (
        "set spec.engine.tensorParallelSize to 2 or set spec.model.quantization to fp8" in message
    )


def test_a_fixed_cache_that_is_larger_than_the_gpu_is_told_what_would_fit() -> None:
    spec = {"engine": {"kvCache": {"memory": "500Gi"}}, "pod": {"gpu": {"memory": "81559Mi"}}}

    condition_ = condition_of(report(status_input(spec=spec), NOW), ConditionType.MODEL_FITS)

    assert (condition_.status, condition_.reason) == ("False", Reason.DOES_NOT_FIT)
    assert condition_.message == (
        "the engine needs 525.08 GiB of free memory on each GPU at startup, but only 77.75 GiB are"
        " free (weights take 22.47 GiB, the KV cache 500.00 GiB): remove spec.engine.kvCache.memory"
        " or set spec.engine.kvCache.memory to 53933Mi or less"
    )


def test_the_block_that_no_request_can_have_is_told_where_it_is_the_one_that_is_missing() -> None:
    engine = {"contextLength": 8192, "extraArgs": ["--num-gpu-blocks-override=512"]}
    spec = {"engine": engine, "pod": {"gpu": {"memory": "81559Mi"}}}

    message = condition_of(report(status_input(spec=spec), NOW), ConditionType.MODEL_FITS).message

    assert (
        "the KV cache of a replica holds 8192 tokens, of which one request can use 8176,"
        " but 8192 are needed: remove --num-gpu-blocks-override from spec.engine.extraArgs"
    ) in message


def test_a_cluster_with_different_gpus_is_judged_by_the_largest_that_are_enough() -> None:
    mixed = status_input(
        spec={"engine": {"tensorParallelSize": 1}},
        nodes=(node_body("a", memory_mib=81559), node_body("b", memory_mib=143771)),
    )

    message = condition_of(report(mixed, NOW), ConditionType.MODEL_FITS).message

    assert "the KV cache of a replica holds 506656 tokens" in message
