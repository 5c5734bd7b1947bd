"""A full KV cache is good use; one from which requests are preempted is too small for its load."""

from dataclasses import dataclass, field

import pytest

from mistral_server.engine.vllm_metrics import EngineMetrics, parse
from mistral_server.supervisor.kv_pressure import QUIET_SECONDS, KVPressureDetector


@dataclass
class Engine:
    """An engine that is polled every five seconds."""

    now: float = 0.0
    preemptions: float = 0.0
    pressure: KVPressureDetector = field(init=False)

    def __post_init__(self) -> None:
        self.pressure = KVPressureDetector(lambda: self.now)
        self.look(usage=0.0)

    def look(self, usage: float, preempted: float = 0.0) -> bool:
        self.now += 5
        self.preemptions += preempted
        metrics = EngineMetrics(kv_cache_usage=usage, preemptions=self.preemptions)
        self.pressure.observe(metrics)
        return self.pressure.high


@pytest.mark.parametrize(
    ("usage", "preempted", "high"),
    [(1.0, 0, False), (0.5, 3, False), (0.96, 1, True), (1.0, 40, True)],
)
def test_pressure_takes_a_full_cache_and_preemptions(
    usage: float, preempted: float, high: bool
) -> None:
    assert Engine().look(usage, preempted) is high


def test_a_peak_between_two_polls_counts_as_full() -> None:
    engine = Engine()
    engine.look(usage=0.97)

    assert engine.look(usage=0.6, preempted=2)


def test_preemptions_before_the_first_poll_do_not_count() -> None:
    pressure = KVPressureDetector(lambda: 0.0)
    pressure.observe(EngineMetrics(kv_cache_usage=1.0, preemptions=12))

    assert not pressure.high


def test_waves_of_preemptions_are_one_episode_until_it_is_calm() -> None:
    engine = Engine()
    for _ in range(4):
        engine.look(usage=1.0, preempted=1)
        engine.look(usage=0.9)
    assert engine.pressure.take_episodes() == 1

    engine.now += QUIET_SECONDS
    assert not engine.look(usage=0.5)
    engine.look(usage=1.0, preempted=1)

    assert engine.pressure.take_episodes() == 1
    assert engine.pressure.take_episodes() == 0


def test_preemptions_are_read_from_every_engine() -> None:
    text = (
        'vllm:num_preemptions_total{engine="0",model_name="tiny"} 3.0\n'
        'vllm:num_preemptions_total{engine="1",model_name="tiny"} 4.0\n'
    )

    assert parse(text).preemptions == 7
