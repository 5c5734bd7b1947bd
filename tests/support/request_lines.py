"""The lines of requests that a gate wrote to the standard output."""

import json
from typing import Any

import pytest

from mistral_server.gate.request_log import LOGGER

Line = dict[str, Any]


def lines(capfd: pytest.CaptureFixture[str]) -> list[Line]:
    """Return the lines since the last call."""
    texts = capfd.readouterr().out.splitlines()
    entries = [json.loads(one) for one in texts if one.startswith('{"time":')]
    return [one for one in entries if one["logger"] == LOGGER]
