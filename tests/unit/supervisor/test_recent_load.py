"""The load that a server reports is that of the last seconds, not of one moment."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mistral_server.engine.vllm_metrics import EngineMetrics
from mistral_server.supervisor.state import ServerState
from server_runner import server_settings


@pytest.mark.parametrize(
    ("running", "reported"),
    [
        pytest.param([], 0, id="no sample yet"),
        pytest.param([6], 6, id="the first sample counts alone"),
        pytest.param([6, 1, 6], 5, id="between two answers"),
        pytest.param([6, 0, 6], 4, id="all at once between two answers"),
        pytest.param([0, 0, 1], 1, id="one request is not none"),
        pytest.param([6, 6, 6, 0, 0, 0], 0, id="15 s without a request are none"),
    ],
)
def test_requests_are_counted_over_the_last_seconds(
    tmp_path: Path, running: Sequence[int], reported: int
) -> None:
    state = ServerState(server_settings(tmp_path))
    for count in running:
        state.observe(EngineMetrics(running=count, waiting=count, looping=count))

    signals = state.signals()
    assert (signals.running, signals.waiting, signals.looping) == (reported,) * 3


def test_the_rest_is_the_last_sample(tmp_path: Path) -> None:
    state = ServerState(server_settings(tmp_path))
    for usage, starved in ((0.2, 0), (0.9, 3)):
        state.observe(EngineMetrics(kv_cache_usage=usage, starved=starved, kv_cache_tokens=64))

    signals = state.signals()
    assert (signals.kv_cache_usage, signals.starved) == (0.9, 3)
    assert signals.effective.kv_cache_tokens == 64
