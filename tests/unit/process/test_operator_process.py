"""Shutdown of the operator."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from mistral_operator.process.lifecycle import ignore_generator_close_errors


async def _generator() -> AsyncIterator[int]:
    yield 1


def test_only_errors_from_closing_generators_are_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.new_event_loop()
    try:
        with caplog.at_level(logging.ERROR):
            context = {"message": "closing", "exception": RuntimeError(), "asyncgen": _generator()}
            ignore_generator_close_errors(loop, context)
            assert caplog.text == ""
            ignore_generator_close_errors(
                loop, {"message": "a task broke", "exception": RuntimeError("x")}
            )
            assert "a task broke" in caplog.text
    finally:
        loop.close()
