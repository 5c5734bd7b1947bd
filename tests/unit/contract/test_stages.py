"""Stages and phases: one list of names, and other versions' names are read all the same."""

import json
from typing import Any

import pytest

from builders import NOW, container, crashed_container, pod_body
from mistral_operator.oom import failures_of
from mistral_operator.status import report
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import (
    PHASE_OF_STAGE,
    FailureClass,
    Phase,
    SignalDocument,
    Stage,
    TerminationReport,
)
from status_inputs import condition_of, status_input, with_signals

REPORT = {"failure": "CudaOomWarmup", "stage": "warming-up", "message": "The engine exited."}
SIGNALS = {"stage": "serving", "stage_seconds": 1, "ready": True}


def read_report(**fields: Any) -> TerminationReport:
    """Return a report as the operator reads it from a pod."""
    return TerminationReport.read(json.dumps(REPORT | fields))


def read_signals(**fields: Any) -> SignalDocument:
    """Return signals as the operator reads them from a pod."""
    return SignalDocument.read(json.dumps(SIGNALS | fields))


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_of_this_version_is_parsed(phase: Phase) -> None:
    assert read_report(phase=phase.value).phase is phase


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_of_this_version_is_parsed(stage: Stage) -> None:
    assert read_report(stage=stage.value).stage is stage
    assert read_signals(stage=stage.value).stage is stage


def test_names_of_another_version_are_read_as_text() -> None:
    assert read_report(phase="kernel-tuning", stage="tuning").phase == "kernel-tuning"
    assert read_report(phase="kernel-tuning", stage="tuning").stage == "tuning"
    assert read_signals(stage="tuning").stage == "tuning"


def test_a_report_without_a_phase_has_an_empty_one() -> None:
    assert read_report().phase == ""


@pytest.mark.parametrize("read", [read_report, read_signals])
def test_fields_of_a_newer_server_are_ignored(read: Any) -> None:
    assert read(field_of_a_newer_server={"deep": []}) == read()


def test_a_name_is_cut_to_what_fits_the_status() -> None:
    assert read_report(phase="x" * 65).phase == "x" * 64
    assert read_signals(stage="x" * 65).stage == "x" * 64


def test_every_stage_has_a_phase() -> None:
    assert set(PHASE_OF_STAGE) == set(Stage)


@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({"phase": "kv-cache"}, "kv-cache"),
        ({"phase": "kernel-tuning"}, "kernel-tuning"),
        ({"stage": "loading"}, "weights"),
        ({"stage": "warming-up"}, "warm-up"),
        ({"stage": "tuning"}, "tuning"),
    ],
)
def test_a_failure_has_the_phase_of_its_report_or_else_of_the_stage(
    fields: dict[str, str], phase: str
) -> None:
    message = json.dumps(REPORT | fields)

    (failure,) = failures_of([pod_facts(pod_body(crashed_container(85, message=message)))])

    assert failure.failure is FailureClass.CUDA_OOM_WARMUP
    assert failure.phase == phase


def test_a_pod_in_a_stage_of_another_version_is_reported_with_its_name() -> None:
    case = with_signals(status_input(pod_body(container())), small_1=read_signals(stage="tuning"))

    assert condition_of(report(case, NOW)).message == "pod small-1: the server is in stage tuning"
