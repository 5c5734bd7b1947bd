"""Secrets and escapes that another process writes reach no status, Event, log or report."""

import json
import logging
from collections.abc import Iterator

import pytest

from builders import (
    NOW,
    Object,
    container,
    crashed_container,
    deployment_body,
    ended,
    failed_pod,
    fetch,
    pod_body,
    ready_pod,
    replica_failure,
    resource,
    unschedulable_pod,
    waiting_container,
)
from document_texts import texts
from mistral_operator.api import Oom, Reason, Status
from mistral_operator.api.status import Problem
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.failures import error_of
from mistral_operator.oom import failures_of
from mistral_operator.oom.counting import record
from mistral_operator.process import logs
from mistral_operator.process.settings import Settings
from mistral_operator.status import StatusInput, report
from mistral_operator.status.events import memory_events, transition_events
from mistral_server.contract import SERVER_TOKEN_ENV, FailureClass, SignalDocument, Stage
from mistral_server.contract.public_log import PublicFormatter
from mistral_server.errors import EngineFailedError, ModelUnavailableError
from mistral_server.supervisor.termination import make_report, write_report
from status_inputs import remembering, status_input, with_signals

CANARY = "canary0123456789abcdef"
PLANTED = (
    f"\x1b[31mBearer {CANARY}\x1b[0m\nAuthorization: Basic {CANARY}\r\n"
    f"https://me:{CANARY}@hub/x hf_{CANARY} password={CANARY} \x00\u202e\ud800" + "x" * 5000
)
"""What an exception, a body, or a log line may hold."""


def documents() -> Iterator[tuple[str, StatusInput]]:
    """Yield a status input for each place where another process puts a text."""
    report_of_a_pod = json.dumps(
        {
            "failure": f"Odd hf_{CANARY}",
            "stage": PLANTED,
            "phase": PLANTED,
            "message": PLANTED,
            "evidence": PLANTED,
            "suggest": {PLANTED: 1},
        }
    )
    memory = json.dumps({"failure": "CudaOomLoad", "evidence": PLANTED, "phase": f"hf_{CANARY}"})
    effective = {"vllm_version": f"hf_{CANARY}\x1b[2J", "mistral_common_version": PLANTED}
    signals = json.dumps({"ready": True, "stage": f"hf_{CANARY}", "effective": effective})
    signals_read = SignalDocument.read(signals)
    yield "a report", status_input(pod_body(crashed_container(85, message=report_of_a_pod)))
    yield "a report of memory", status_input(pod_body(crashed_container(84, message=memory)))
    yield "the end of a log", status_input(pod_body(crashed_container(1, message=PLANTED)))
    yield (
        "a fetch",
        status_input(pod_body(fetch(container(state=ended(66, message=report_of_a_pod))))),
    )
    yield "the kubelet's image", status_input(pod_body(waiting_container("ErrImagePull", PLANTED)))
    yield (
        "the kubelet's configuration",
        status_input(pod_body(waiting_container("CreateContainerConfigError", PLANTED))),
    )
    yield "the scheduler", status_input(unschedulable_pod(PLANTED))
    yield "an eviction", status_input(failed_pod("Evicted", PLANTED))
    yield (
        "a quota",
        status_input(deployment=deployment_body(conditions=(replica_failure(PLANTED),))),
    )
    yield "the API server", status_input(problems=(Problem(Reason.APPLY_FAILED, PLANTED),))
    yield "signals", with_signals(status_input(pod_body(container())), small_1=signals_read)
    yield (
        "versions",
        with_signals(
            status_input(ready_pod(), deployment=deployment_body(ready=1)), small_1=signals_read
        ),
    )


INPUTS = dict(documents())


def assert_public(text: str) -> None:
    """Check that a text has neither the canary nor a control character."""
    assert "canary" not in text
    assert text.isprintable()


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_no_secret_of_another_process_reaches_the_status_or_an_event(inputs: StatusInput) -> None:
    oom, _ = record(Oom(), failures_of(inputs.observed.pods))
    status = report(remembering(inputs, oom), NOW)
    events = [
        *transition_events(resource(), Status(), status, NOW),
        *memory_events(resource(), Status(), oom, NOW),
    ]

    document: Object = {"status": status.model_dump(by_alias=True), "events": events}
    public = list(texts(document))

    assert len(public) > 20
    for text in public:
        assert_public(text)
    assert all(len(one.message) <= 1024 for one in status.conditions)
    assert all(len(one["message"].encode()) <= 1024 for one in events)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_reaches_the_log_of_the_operator(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.configure(Settings(log_format=log_format))

    root_logger.warning("the API server says %s", PLANTED)
    try:
        raise ClusterError(500, PLANTED, "GET /x")
    except ClusterError:
        root_logger.exception("it failed")
    root_logger.error("%s", error_of(500, {}, json.dumps({"message": PLANTED}).encode(), "GET /x"))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    for line in lines:
        assert_public(line)


def test_no_secret_reaches_the_log_of_the_server() -> None:
    formatter = PublicFormatter("%(message)s")
    try:
        raise RuntimeError(PLANTED)
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "it says %s", (PLANTED,), info)

    for line in formatter.format(record).splitlines():
        assert_public(line)


@pytest.mark.parametrize("variable", ["HF_TOKEN", SERVER_TOKEN_ENV])
def test_no_secret_reaches_the_termination_report(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path_factory: pytest.TempPathFactory,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, f" {CANARY}\n")
    path = tmp_path_factory.mktemp("report") / "termination-log"
    evidence = f"ValueError: {PLANTED} the value {CANARY}"
    failure = FailureClass.CUDA_OOM_LOAD
    for error in (
        EngineFailedError(failure, f"it says {CANARY}", evidence=evidence, engine_exit=1),
        ModelUnavailableError(f"it says {CANARY}: {PLANTED}"),
    ):
        with caplog.at_level(logging.ERROR):
            write_report(make_report(error, Stage.LOADING, 1.0), str(path))

        document = json.loads(path.read_text())
        assert document["message"].startswith("it says [hidden]")
        for text in texts(document):
            assert_public(text)
    for line in caplog.messages:
        assert "canary" not in line


def test_the_token_of_the_supervisor_is_no_part_of_its_report() -> None:
    error = ModelUnavailableError(f"it says {CANARY}")

    assert make_report(error, Stage.LOADING, 1.0, [CANARY]).message == "it says [hidden]"
