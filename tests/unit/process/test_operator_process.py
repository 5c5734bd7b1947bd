"""The end of an operator."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from mistral_operator.process.lifecycle import overlook_generators


async def _generator() -> AsyncIterator[int]:
    yield 1


def test_a_generator_that_the_loop_cannot_close_is_no_news_and_everything_else_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.new_event_loop()
    try:
        with caplog.at_level(logging.ERROR):
            context = {"message": "closing", "exception": RuntimeError(), "asyncgen": _generator()}
            overlook_generators(loop, context)
            assert caplog.text == ""
            overlook_generators(loop, {"message": "a task broke", "exception": RuntimeError("x")})
            assert "a task broke" in caplog.text
    finally:
        loop.close()
