"""Parse the metrics of vLLM and of the gate that the supervisor needs.

Pure. Parsing all 640 lines every few seconds would cost more than everything else in the
supervisor, so lines are first filtered by name. Lines that cannot be parsed are ignored: output of
another process must never terminate this one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
_KV_USAGE = "vllm:kv_cache_usage_perc"
_CACHE_CONFIG = "vllm:cache_config_info"
_PREEMPTIONS = "vllm:num_preemptions_total"
_IN_FLIGHT = "mistral_requests_in_flight"
_PROGRESS = (
    "vllm:iteration_tokens_total_count",  # steps; the others are tokens
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
)

_SAMPLE = re.compile(r"(?P<name>(?:vllm:|mistral_)\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_NAMES = frozenset(
    {_RUNNING, _WAITING, _WAITING_BY_REASON, _KV_USAGE, _CACHE_CONFIG, _IN_FLIGHT, _PREEMPTIONS}
    | set(_PROGRESS)
)


@dataclass(frozen=True)
class EngineMetrics:
    """One sample of the engine's metrics."""

    running: int = 0
    """Requests being computed."""
    waiting: int = 0
    """Requests in the queue, for any reason."""
    starved: int = 0
    """Requests queued for capacity; the others wait for something outside the engine."""
    looping: int = 0
    """Requests that only generate loops."""
    kv_cache_usage: float = 0.0
    """Used share of the KV cache, 0 to 1; the maximum of several engines."""
    preemptions: float = 0.0
    """Requests evicted from the KV cache since the engine's start."""
    progress: tuple[float, ...] = ()
    """Counters of steps and tokens. A change of any of them is progress."""
    kv_cache_tokens: int | None = None
    """Size of the KV cache in tokens."""

    @property
    def tokens(self) -> int:
        """Tokens of prompts and responses since the engine's start."""
        return int(sum(self.progress[1:]))

    @property
    def busy(self) -> bool:
        """Whether the engine has something to compute."""
        return self.running + self.starved > 0


def parse(text: str) -> EngineMetrics:
    """Return the metrics of an exposition; missing ones have their defaults."""
    samples_by_name: dict[str, list[tuple[Mapping[str, str], float]]] = {
        name: [] for name in _NAMES
    }
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample and sample["name"] in _NAMES and (value := _number(sample["value"])) is not None:
            labels = dict(_LABEL.findall(sample["labels"] or ""))
            samples_by_name[sample["name"]].append((labels, value))
    sums = {name: sum(value for _, value in samples) for name, samples in samples_by_name.items()}
    return EngineMetrics(
        running=int(sums[_RUNNING]),
        waiting=int(sums[_WAITING]),
        starved=int(
            sum(
                value
                for labels, value in samples_by_name[_WAITING_BY_REASON]
                if labels.get("reason") == "capacity"
            )
        ),
        looping=int(
            sum(
                value
                for labels, value in samples_by_name[_IN_FLIGHT]
                if labels.get("state") == "looping"
            )
        ),
        kv_cache_usage=max((value for _, value in samples_by_name[_KV_USAGE]), default=0.0),
        preemptions=sums[_PREEMPTIONS],
        progress=tuple(sums[name] for name in _PROGRESS),
        kv_cache_tokens=_kv_cache_tokens(samples_by_name[_CACHE_CONFIG]),
    )


def _kv_cache_tokens(samples: list[tuple[Mapping[str, str], float]]) -> int | None:
    sizes = [labels.get("kv_cache_size_tokens", "") for labels, _ in samples]
    numbers = [int(size) for size in sizes if size.isdecimal()]
    return sum(numbers) or None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
