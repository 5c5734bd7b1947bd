"""The supervisor's own Prometheus metrics, served by ``health``.

The gate counts generations in vLLM's ``/metrics``. These metrics cover what vLLM cannot report
about itself: its start and its exit.
"""

import importlib.metadata
import time
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
    generate_latest,
)

from mistral_server.contract import (
    KV_PRESSURE,
    MEMORY_FAILURES,
    CompileCacheUse,
    FailureClass,
)
from mistral_server.supervisor.state import ServerState


class ServerMetrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, state: ServerState) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # series that no rule reads
        self._state = state
        self._registry = CollectorRegistry()
        self._start = Gauge(
            "mistral_engine_start_seconds",
            "Duration of each stage of the engine's start, in seconds.",
            ["stage"],
            registry=self._registry,
        )
        self._compile_cache = Gauge(
            "mistral_server_compile_cache",
            "1 for what the start did with the kept compile cache: hit, miss or off.",
            ["result"],
            registry=self._registry,
        )
        self._exits = Counter(
            "mistral_engine_exits",
            "Unexpected engine exits.",
            ["class"],
            registry=self._registry,
        )
        self._oom = Counter(
            "mistral_engine_oom",
            "Out-of-memory failures by class. KVPressure does not terminate the engine.",
            ["class"],
            registry=self._registry,
        )
        self._ready = Gauge(
            "mistral_server_ready",
            "1 if a chat was answered and the server is not draining.",
            registry=self._registry,
        )
        self._started_at = Gauge(
            "mistral_server_start_time_seconds",
            "Unix time at which this server started; a restarted container has another one.",
            registry=self._registry,
        )
        self._started_at.set(time.time())
        self._info = Info(
            "mistral_server", "Versions and model of this server.", registry=self._registry
        )
        for failure in FailureClass:  # a rate needs a zero before the first event
            self._exits.labels(failure.value)
        for memory in (*MEMORY_FAILURES, KV_PRESSURE):
            self._oom.labels(memory)

    def count_exit(self, failure: FailureClass) -> None:
        """Count an exit of the engine."""
        self._exits.labels(failure.value).inc()
        if failure in MEMORY_FAILURES:
            self._oom.labels(failure.value).inc()

    def count_pressure(self, episodes: int) -> None:
        """Count episodes of KV cache pressure."""
        self._oom.labels(KV_PRESSURE).inc(episodes)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        for stage, seconds in self._state.stages.durations().items():
            self._start.labels(stage.value).set(seconds)
        if (report := self._state.compile_cache) is not None:
            for use in get_args(CompileCacheUse):
                self._compile_cache.labels(use).set(use == report.use)
        self.count_pressure(self._state.pressure.take_episodes())
        self._ready.set(self._state.ready)
        self._info.info(
            {
                "version": _own_version(),
                "vllm": self._state.effective.vllm_version or "",
                "mistral_common": self._state.effective.mistral_common_version or "",
                "model": self._state.settings.model.id,
            }
        )
        return generate_latest(self._registry)


def _own_version() -> str:
    try:
        return importlib.metadata.version("mistral-small-operator")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return ""
