"""Settings of the operator, and the log that they configure."""

import json
import logging

import pytest
from pydantic import ValidationError

from mistral_operator.process import logs
from mistral_operator.process.settings import Settings


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b"))],
)
def test_namespaces_are_separated_by_commas(
    text: str, namespaces: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_NAMESPACES", text)

    assert Settings().namespaces == namespaces


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("LEASE_SECONDS", "1"),
        ("RESYNC_SECONDS", "0"),
        ("SIGNAL_SECONDS", "-1"),
        ("CONCURRENCY", "0"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_an_invalid_setting_is_rejected_with_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MISTRAL_OPERATOR_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_a_json_log_has_one_object_per_line(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(Settings(log_format="json", log_level="debug"))

    root_logger.debug("two\nlines of %s", "text")
    try:
        int("broken")
    except ValueError:
        root_logger.exception("it broke")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["message"]) == ("debug", "two lines of text")
    assert "ValueError: invalid literal" in second["traceback"]
    assert "traceback" not in first


def test_a_text_log_leaves_out_info_lines_of_kopf(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(Settings())

    logging.getLogger("kopf.activities").info("chatter")
    logging.getLogger("mistral_operator.apply.plan").info("applied")
    root_logger.debug("detail")

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO    mistral_operator.apply.plan: applied")
