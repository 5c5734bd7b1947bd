"""The contract between operator and server: sizes, names and numbers that both sides rely on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mistral_operator.api import Effective, parse_spec
from mistral_operator.render.server_settings import server_settings
from mistral_server.contract import (
    EXIT_CODES,
    REPORT_LIMIT_BYTES,
    EffectiveConfiguration,
    FailureClass,
    GateSettings,
    ServerSettings,
    SignalDocument,
    TerminationReport,
)

# Control characters take six bytes as JSON, and some characters four as UTF-8.
texts = st.text(max_size=3000) | st.text(st.characters(max_codepoint=31)).map(lambda t: t * 500)


@given(message=texts, evidence=texts, failure=st.sampled_from(FailureClass))
def test_a_report_always_fits_the_termination_message_and_can_be_parsed(
    message: str, evidence: str, failure: FailureClass
) -> None:
    report = TerminationReport(failure=failure, stage="loading", message=message, evidence=evidence)

    encoded = report.to_bytes()

    assert len(encoded) <= REPORT_LIMIT_BYTES
    read = TerminationReport.model_validate_json(encoded)
    assert read.failure is failure
    assert message.startswith(read.message)
    assert evidence.startswith(read.evidence)


@pytest.mark.parametrize("character", ["x", "é", "\N{FIRE}", "\x00", '"', "\n"])
def test_a_long_report_keeps_the_beginning_of_both_texts(character: str) -> None:
    report = TerminationReport(
        failure=FailureClass.STALLED,
        stage="serving",
        message=f"message {character * 100_000}",
        evidence=f"evidence {character * 100_000}",
    )

    encoded = report.to_bytes()

    assert len(encoded) <= REPORT_LIMIT_BYTES
    read = json.loads(encoded)
    assert read["message"].startswith(f"message {character * 50}")
    assert read["evidence"].startswith(f"evidence {character * 50}")


def test_a_short_report_is_written_unchanged() -> None:
    report = TerminationReport(
        failure=FailureClass.ENGINE_DIED, stage="serving", message="ä", engine_exit=-9
    )

    assert TerminationReport.model_validate_json(report.to_bytes()) == report


def test_every_failure_has_an_exit_code_of_its_own() -> None:
    assert set(EXIT_CODES) == set(FailureClass)
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


@pytest.mark.parametrize("code", EXIT_CODES.values())
def test_exit_codes_mean_neither_success_nor_a_signal_nor_a_shell(code: int) -> None:
    assert 2 < code < 126


def test_the_status_shows_every_part_of_the_effective_configuration() -> None:
    assert set(Effective.model_fields) == set(EffectiveConfiguration.model_fields)


@pytest.mark.parametrize(
    "document",
    [
        {"model": {"path": "/m", "served_name": "m", "id": "m"}, "unheard": 1},
        {"model": {"path": "/m", "served_name": "m", "id": "m", "unheard": 1}},
    ],
)
def test_settings_of_another_release_are_rejected(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="unheard"):
        ServerSettings.model_validate(document)


def test_settings_cannot_be_changed() -> None:
    settings = ServerSettings.model_validate(
        {"model": {"path": "/m", "served_name": "m", "id": "m"}}
    )
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", ["stage_seconds", "running", "waiting", "kv_cache_usage"])
def test_a_signal_has_no_negative_numbers(field: str) -> None:
    document = {"stage": "serving", "stage_seconds": 0, "ready": True, field: -1}

    with pytest.raises(ValidationError, match=field):
        SignalDocument.model_validate(document)


def test_the_resources_defaults_for_the_gate_are_the_servers_own() -> None:
    """Else every pod would restart when the operator is upgraded to know the field."""
    assert server_settings(parse_spec({})).gate == GateSettings()


@pytest.mark.parametrize("word", ["Disabled", "Off"])
def test_loops_are_not_detected_under_the_new_name_and_the_former_one(word: str) -> None:
    assert server_settings(parse_spec({"loops": {"action": word}})).gate.loops.action == "Off"
