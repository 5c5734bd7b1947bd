"""Reports and signals that another version, a defect or an attacker wrote: read within bounds."""

import json
from typing import Any

import pytest

from builders import NOW, container, crashed_container, deployment_body, pod_body, ready_pod
from mistral_operator.api import Effective
from mistral_operator.oom import Failure, failures_of
from mistral_operator.status import report
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import FailureClass, SignalDocument, TerminationReport
from status_inputs import condition_of, status_input, with_signals

REPORT = {
    "failure": "CudaOomWarmup",
    "stage": "warming-up",
    "message": "Lower engine.max_sequences.",
    "evidence": "CUDA out of memory",
    "suggest": {"engine.context_length": 4096},
}
SIGNALS = {"stage": "serving", "ready": True, "running": 3, "effective": {"context_length": 4096}}
MISSING: Any = object()
NAN = float("nan")


def changed(document: dict[str, Any], fields: dict[str, Any]) -> str:
    """Return a document as JSON with other values; MISSING removes a field."""
    both = {key: one for key, one in (document | fields).items() if one is not MISSING}
    return json.dumps(both).replace('"HUGE"', "1" * 5000)


def failed_with(message: str, exit_code: int = 85) -> tuple[list[Failure], str]:
    """Return the failures of a pod with a termination message, and the Ready condition."""
    pod = pod_body(crashed_container(exit_code, message=message))
    return failures_of([pod_facts(pod)]), condition_of(report(status_input(pod), NOW)).message


@pytest.mark.parametrize(
    "fields",
    [
        *({"phase": None}, {"phase": 5}, {"phase": "x" * 65}, {"evidence": None}),
        *({"stage": MISSING}, {"stage": None}, {"stage": 5}, {"stage": ["loading"]}),
        *({"message": MISSING}, {"message": None}, {"message": {"text": "x"}}),
        *({"suggest": None}, {"suggest": [1]}, {"suggest": {"engine.context_length": "much"}}),
        *({"suggest": {"engine.context_length": -1}}, {"suggest": {"x": "HUGE"}}),
        *({"uptime_seconds": 12.5}, {"uptime_seconds": NAN}, {"uptime_seconds": "HUGE"}),
        *({"engine_exit": "SIGKILL"}, {"engine_exit": [9]}),
        *({"evidence": "lone \ud800 surrogate"}, {"message": "\udfff"}),
    ],
    ids=lambda fields: ",".join(f"{key}={str(one)[:12]!a}" for key, one in fields.items()),
)
def test_an_odd_field_of_a_report_does_not_lose_the_others(fields: dict[str, Any]) -> None:
    failures, message = failed_with(changed(REPORT, fields))

    assert [one.failure for one in failures] == [FailureClass.CUDA_OOM_WARMUP]
    assert len(failures[0].phase) <= 64
    assert all(value > 0 for value in failures[0].suggest.values())
    assert message.startswith("pod small-1: CudaOomWarmup (restarted 3 times)")
    assert "{" not in message
    if "message" not in fields:
        assert "Lower spec.engine.maxSequences." in message
    json.dumps([message, failures[0].evidence], ensure_ascii=False).encode()


def test_one_odd_suggestion_does_not_lose_the_others() -> None:
    both = {"suggest": {"engine.context_length": 4096, "engine.max_sequences": None}}

    ((failure,), _) = failed_with(changed(REPORT, both))

    assert failure.suggest == {"engine.context_length": 4096}


def test_a_byte_order_mark_is_ignored() -> None:
    assert TerminationReport.read("\ufeff" + json.dumps(REPORT)) == TerminationReport.read(
        json.dumps(REPORT).encode("utf-8-sig")
    )


@pytest.mark.parametrize("failure", ["CudaOomTuning", None, 5, MISSING, ["CudaOomLoad"]])
@pytest.mark.parametrize(
    ("exit_code", "counted", "cause"),
    [
        (85, [FailureClass.CUDA_OOM_WARMUP], "CudaOomWarmup"),
        (78, [FailureClass.INVALID_CONFIGURATION], "InvalidConfiguration"),
        (1, [], ""),
    ],
)
def test_an_unknown_class_is_replaced_by_that_of_the_exit_code(
    failure: Any, exit_code: int, counted: list[FailureClass], cause: str
) -> None:
    failures, message = failed_with(changed(REPORT, {"failure": failure}), exit_code)

    assert [one.failure for one in failures] == counted
    assert "Lower spec.engine.maxSequences. Evidence: CUDA out of memory" in message
    assert "{" not in message
    reported = failure if isinstance(failure, str) else "Error, exit code 1"
    assert message.startswith(f"pod small-1: {cause or reported} (restarted 3 times): ")


@pytest.mark.parametrize("text", ["", "[]", "5", "Killed", "{", "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_object_is_no_report(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TerminationReport.read(text)


@pytest.mark.parametrize(
    "fields",
    [
        *({"effective": None}, {"effective": []}, {"effective": {"vllm_version": 0.32}}),
        *({"waiting": 5.5}, {"waiting": "HUGE"}, {"waiting": 2**31}, {"waiting": -1}),
        *({"stage": "x" * 65}, {"stage": None}, {"stage": 5}, {"stage": MISSING}),
        *({"stage_seconds": NAN}, {"stage_seconds": "long"}, {"kv_cache_usage": NAN}),
        *({"tokens": 2**64}, {"kv_pressure": "perhaps"}),
    ],
    ids=lambda fields: ",".join(f"{key}={str(one)[:12]!a}" for key, one in fields.items()),
)
def test_an_odd_field_of_signals_does_not_lose_the_others(fields: dict[str, Any]) -> None:
    signals = SignalDocument.read(changed(SIGNALS, fields))

    assert (signals.ready, signals.running) == (True, 3)
    assert signals.waiting == 0
    assert len(signals.stage) <= 64
    if "effective" not in fields:
        assert signals.effective.context_length == 4096


def test_signals_never_make_a_status_large() -> None:
    effective = {
        "vllm_version": "9" * 60_000,
        "mistral_common_version": "1\u202e\n\x1b[31m2",
        "tensor_parallel_size": 2**31,
        "context_length": -1,
        "kv_cache_tokens": 2**31 - 1,
    }
    signals = SignalDocument.read(changed(SIGNALS, {"effective": effective}))
    case = with_signals(
        status_input(ready_pod(), deployment=deployment_body(ready=1)), small_1=signals
    )

    assert report(case, NOW).effective == Effective(
        vllm_version="9" * 64, mistral_common_version="1 2", kv_cache_tokens=2**31 - 1
    )


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("", "the server is running and does not report its stage"),
        (" \n", "the server is running and does not report its stage"),
        ("tu\x1b[1mn\x00ing\u202e\nnow", "the server is in stage tuning now"),
        ("x" * 100, f"the server is in stage {'x' * 64}"),
    ],
)
def test_any_stage_gives_one_readable_line(stage: str, sentence: str) -> None:
    signals = SignalDocument.read(changed(SIGNALS, {"stage": stage, "ready": False}))
    case = with_signals(status_input(pod_body(container())), small_1=signals)

    assert condition_of(report(case, NOW)).message == f"pod small-1: {sentence}"


def test_the_log_of_a_killed_server_reaches_conditions_as_one_readable_line() -> None:
    log = "\x1b[31mtorch.OutOfMemoryError: CUDA out of memory.\x1b[0m\u2066 Tried 20 GiB.\n"

    ((failure,), message) = failed_with(log, 137)

    assert failure.evidence == "torch.OutOfMemoryError: CUDA out of memory. Tried 20 GiB."
    assert message.endswith(f"exit code 137 (restarted 3 times): {failure.evidence}")
