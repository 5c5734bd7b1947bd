"""`kubectl msd top`: what the replicas of an endpoint do. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from mistral_operator.api.autoscaling import AutoscalingStatus
from mistral_operator.plugin.columns import table
from mistral_server.contract import SignalDocument


class Sample(NamedTuple):
    """What one pod reported twice."""

    pod: str
    before: SignalDocument | None
    after: SignalDocument | None
    seconds: float
    """Time between the two."""

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of prompts and responses per second; None if the engine started in between."""
        if self.before is None or self.after is None or self.seconds <= 0:
            return None
        first, last = self.before.tokens, self.after.tokens
        return (
            None if first is None or last is None or last < first else (last - first) / self.seconds
        )


class Load(NamedTuple):
    """The load of an endpoint."""

    samples: Sequence[Sample] | None
    """Of its pods that run; None if these are not known."""
    scaling: AutoscalingStatus | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to show."""
        if self.samples is None:
            return False
        return not self.samples or any(one.after for one in self.samples)


def load_text(load: Load) -> str:
    """Return the load as a table."""
    if load.samples is None:
        return "the load is not known: the pods could not be read"
    if not load.samples:
        return "no replica runs"
    lines = table(
        ("POD", "STAGE", "RUNNING", "WAITING", "LOOPING", "TOKENS/S", "KV CACHE"),
        [_row(one) for one in load.samples],
    )
    held = load.scaling and load.scaling.held
    if held:
        lines.append(f"  {held} more queued in the activator, by the last decision of autoscaling")
    return "\n".join(lines)


def _row(sample: Sample) -> tuple[str, ...]:
    signal, rate = sample.after, sample.tokens_per_second
    if signal is None:
        return sample.pod, "not known", "", "", "", "", ""
    return (
        sample.pod,
        str(signal.stage),
        str(signal.running),
        str(signal.waiting),
        str(signal.looping),
        "" if rate is None else f"{rate:.0f}",
        f"{signal.kv_cache_usage:.0%}",
    )
