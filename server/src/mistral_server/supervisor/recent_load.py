"""The load of the last seconds: the mean of the last samples of the engine's metrics. Pure."""

import math
from collections import deque
from collections.abc import Callable

from mistral_server.engine.vllm_metrics import EngineMetrics

SAMPLES = 3
"""With a sample every 5 s: the interval in which the operator polls a pod that it scales."""


class RecentLoad:
    """The mean number of requests, rounded up.

    A single sample says little. Between two answers a client has no request in flight, and a
    request that the API process has not handed to the engine yet is neither running nor waiting.
    Autoscaling goes by the lowest load of a window, so one low sample would delay a replica by the
    whole window.
    """

    def __init__(self) -> None:
        self._samples: deque[EngineMetrics] = deque(maxlen=SAMPLES)

    def observe(self, metrics: EngineMetrics) -> None:
        """Take in a sample."""
        self._samples.append(metrics)

    @property
    def running(self) -> int:
        """Requests being computed."""
        return self._mean(lambda one: one.running)

    @property
    def waiting(self) -> int:
        """Requests in the engine's queue."""
        return self._mean(lambda one: one.waiting)

    @property
    def looping(self) -> int:
        """Requests that only generate loops."""
        return self._mean(lambda one: one.looping)

    def _mean(self, count: Callable[[EngineMetrics], int]) -> int:
        counts = [count(one) for one in self._samples]
        return math.ceil(sum(counts) / len(counts)) if counts else 0
