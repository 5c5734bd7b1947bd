"""The gate's records reach vLLM's log, whatever the level of the root logger."""

import logging
from collections.abc import Iterator

import pytest

from mistral_server.engine import log_handlers


class Kept(logging.Handler):
    """Keeps the records that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record.getMessage())


@pytest.fixture
def engines() -> Iterator[Kept]:
    """Return the handler of a vLLM whose requirement has set the root's level to ERROR."""
    root, own = logging.getLogger(), logging.getLogger(log_handlers.OWN)
    engine, handler = logging.getLogger(log_handlers.ENGINE), Kept()
    levels = root.level, own.level
    root.setLevel(logging.ERROR)
    engine.addHandler(handler)
    yield handler
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    engine.removeHandler(handler)
    own.removeHandler(handler)


def test_warnings_and_infos_are_written_once(engines: Kept) -> None:
    log_handlers.share()
    log_handlers.share()
    log = logging.getLogger("mistral_server.gate")
    log.warning("a warning")
    log.info("an info")
    log.debug("a detail")

    assert engines.records == ["a warning", "an info"]


def test_without_vllm_nothing_changes() -> None:
    before = logging.getLogger(log_handlers.OWN).level
    log_handlers.share()

    assert logging.getLogger(log_handlers.OWN).handlers == []
    assert logging.getLogger(log_handlers.OWN).level == before
