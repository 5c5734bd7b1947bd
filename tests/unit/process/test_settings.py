"""Settings of the operator, and the log that they configure."""

import json
import logging

import pytest
from pydantic import ValidationError

from mistral_operator.kube.errors import CannotStart
from mistral_operator.process import logs
from mistral_operator.process.settings import (
    ActivatorSettings,
    ProcessSettings,
    Settings,
    allowed,
    read_settings,
)


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b"))],
)
def test_namespaces_are_separated_by_commas(
    text: str, namespaces: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_NAMESPACES", text)

    assert Settings().namespaces == namespaces


INVALID = {
    "PORT": ("70000", "an integer from 0 to 65535"),
    "LEASE_SECONDS": ("1", "an integer of at least 3"),
    "CONCURRENCY": ("many", "an integer of at least 1"),
    "RESYNC_SECONDS": ("abc", "a number greater than 0"),
    "SIGNAL_SECONDS": ("-1", "a number of at least 0"),
    "LOG_LEVEL": ("foo", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    "LOG_FORMAT": ("xml", "one of text, json"),
    "LEADER_ELECTION": ("perhaps", "true or false"),
    "IDENTITY": ("", "text that is not empty"),
}


@pytest.mark.parametrize(("name", "value", "allowed"), [(n, *v) for n, v in INVALID.items()])
def test_an_invalid_setting_is_rejected_with_its_variable_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MISTRAL_OPERATOR_{name}", value)

    with pytest.raises(CannotStart) as raised:
        read_settings(Settings)

    shown = f"MISTRAL_OPERATOR_{name}={value!r}"
    assert str(raised.value) == f"{shown} is not valid: it must be {allowed}"


def test_two_invalid_settings_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_ACTIVATOR_NOTICE_SECONDS", "soon")
    monkeypatch.setenv("MISTRAL_ACTIVATOR_DRAIN_SECONDS", "0" * 100)

    with pytest.raises(CannotStart) as raised:
        read_settings(ActivatorSettings)

    assert str(raised.value) == (
        "MISTRAL_ACTIVATOR_NOTICE_SECONDS='soon' is not valid: it must be a number of at least 0;"
        f" MISTRAL_ACTIVATOR_DRAIN_SECONDS='{'0' * 32}...' is not valid: it must be a number"
        " greater than 0"
    )


@pytest.mark.parametrize("kind", [Settings, ActivatorSettings])
def test_it_is_known_of_every_setting_what_is_allowed(kind: type[ProcessSettings]) -> None:
    names = kind.model_json_schema()["properties"]

    assert len(names) > 5
    assert all(allowed(kind, name) for name in names)


WRONG_PODS: dict[str, tuple[str, str]] = {
    "a misspelt field": (
        '{"nodeSelektor": {}}',
        "is not valid: unknown field nodeSelektor; the fields are affinity, ",
    ),
    "a variable of the operator": (
        '{"env": [{"name": "HF_TOKEN", "value": "a"}]}',
        "is not valid: env[0].name: spec.pod.env cannot set this variable",
    ),
    "a list": (
        "[]",
        "is not valid: must be an object",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG_PODS.values(), ids=WRONG_PODS)
def test_a_wrong_default_of_pods_is_named_by_its_field(
    text: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_ENDPOINT_PODS", text)

    with pytest.raises(CannotStart) as raised:
        read_settings(Settings)

    assert str(raised.value).startswith("MISTRAL_OPERATOR_ENDPOINT_PODS=")
    assert sentence in str(raised.value)


@pytest.mark.parametrize("text", ["debug", "Debug", "DEBUG"])
def test_a_log_level_is_read_in_any_case(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_OPERATOR_LOG_LEVEL", text)

    assert read_settings(Settings).log_level == "DEBUG"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_a_json_log_has_one_object_per_line(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(Settings(log_format="json", log_level="DEBUG"))

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
