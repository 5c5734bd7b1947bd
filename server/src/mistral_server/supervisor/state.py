"""The state of the server: written by ``supervisor``, served by ``health``."""

from dataclasses import dataclass, field

from mistral_server.contract import (
    CompileCacheReport,
    EffectiveConfiguration,
    KeyDigests,
    ServerSettings,
    SignalDocument,
    Stage,
)
from mistral_server.engine.vllm_metrics import EngineMetrics
from mistral_server.engine_log.stages import Stages
from mistral_server.supervisor.hang_detector import HangDetector
from mistral_server.supervisor.kv_pressure import KVPressureDetector
from mistral_server.supervisor.recent_load import RecentLoad


@dataclass
class ServerState:
    """One run of a server. Only the event loop's thread changes it."""

    settings: ServerSettings
    stages: Stages = field(default_factory=Stages)
    effective: EffectiveConfiguration = field(default_factory=EffectiveConfiguration)
    metrics: EngineMetrics = field(default_factory=EngineMetrics)
    """The last sample; `observe` replaces it."""
    load: RecentLoad = field(default_factory=RecentLoad)
    compile_cache: CompileCacheReport | None = None
    """What the start did with the kept compile cache, once that is known."""
    key_digests: KeyDigests | None = None
    """Digests of the API keys, once they are computed."""
    started: bool = False
    """Whether a chat was answered."""
    pressure: KVPressureDetector = field(default_factory=KVPressureDetector)
    hang_detector: HangDetector | None = None
    """Set once the server serves. Before that, `startup_seconds` is the only limit."""

    def observe(self, metrics: EngineMetrics) -> None:
        """Take in a sample of the engine's metrics."""
        self.metrics = metrics
        self.load.observe(metrics)
        self.pressure.observe(metrics)
        if metrics.kv_cache_tokens is not None:
            update = {"kv_cache_tokens": metrics.kv_cache_tokens}
            self.effective = self.effective.model_copy(update=update)

    @property
    def ready(self) -> bool:
        """Whether a chat was answered and the server accepts requests."""
        return self.stages.current is Stage.SERVING

    def stall_reason(self) -> str | None:
        """Return the reason if the engine is hung. A drain has its own deadline."""
        if self.hang_detector is None or self.stages.current is Stage.DRAINING:
            return None
        return self.hang_detector.stall_reason()

    def publish_keys(self, digests: KeyDigests | None) -> None:
        """Publish the digests of the API keys, None for none."""
        self.key_digests = digests

    def signals(self) -> SignalDocument:
        """Return the document behind ``/signals``."""
        return SignalDocument(
            stage=self.stages.current,
            stage_seconds=round(self.stages.seconds(), 3),
            ready=self.ready,
            running=self.load.running,
            waiting=self.load.waiting,
            starved=self.metrics.starved,
            tokens=self.metrics.tokens,
            looping=self.load.looping,
            kv_cache_usage=min(self.metrics.kv_cache_usage, 1.0),
            kv_pressure=self.pressure.high,
            effective=self.effective,
            compile_cache=self.compile_cache,
            key_digests=self.key_digests,
        )
