"""A client's mistake writes one line into the log of vLLM, and a failure its traceback."""

import logging

import pytest

from mistral_server.gate.quiet_log import LOGGERS, shorten_mistakes


def logged(caplog: pytest.LogCaptureFixture, name: str, error: Exception) -> logging.LogRecord:
    """Log an exception as vLLM does."""
    caplog.clear()
    try:
        raise error
    except Exception:
        logging.getLogger(name).exception("An error in %s", "mistral_common")
    (record,) = caplog.records
    return record


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize(
    "error",
    [
        KeyError("content"),
        ValueError("Unknown message role: developer"),
        ValueError("Grammar error: at 1(8): failed to compile JSON schema: my secret\n   1 | x"),
    ],
)
def test_a_mistake_has_one_line_without_its_text(
    caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    shorten_mistakes()
    shorten_mistakes()
    record = logged(caplog, name, error)

    kind = type(error).__name__
    assert record.getMessage() == f"An error in mistral_common ({kind}: the request is wrong)"
    assert record.exc_info is None
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", LOGGERS)
def test_a_failure_keeps_its_traceback(caplog: pytest.LogCaptureFixture, name: str) -> None:
    shorten_mistakes()
    record = logged(caplog, name, RuntimeError("CUDA error"))

    assert record.exc_info
    assert "RuntimeError: CUDA error" in caplog.text


def test_other_loggers_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    shorten_mistakes()

    assert logged(caplog, "vllm.other", ValueError("'content'")).exc_info
