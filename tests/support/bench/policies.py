"""Policies side by side: ours, HPA on what vLLM counts, KEDA's usual trigger, and an oracle.

Ours is the operator's own code. The rules of HPA are the same code too, fed with what HPA would
see: it was written to be that algorithm. Windows, rates and tolerance are HPA's defaults there.
"""

import math
from collections import deque
from collections.abc import Callable

from bench.replicas import KV_TOKENS, LEAST, LOOK_SECONDS, MOST, Policy, State, token_seconds
from bench.traces import Request, Trace
from mistral_operator.api import Autoscaling
from mistral_operator.autoscaling import (
    LoadSample,
    PodLoad,
    decide_replicas,
    effective_target,
    initial_history,
)

TARGET = effective_target(None, KV_TOKENS, None) or 1
"""Requests in flight a replica: the default, for all."""

TARGET_TOKENS = round(TARGET / token_seconds(TARGET))
"""Tokens a second of a replica with as many requests."""

RATE_WINDOW = 60.0
"""Seconds that a rate of Prometheus is taken over."""

SPEC = Autoscaling(min_replicas=LEAST, max_replicas=MOST)
AS_HPA = Autoscaling.model_validate(
    {
        "minReplicas": LEAST,
        "maxReplicas": MOST,
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}},
    }
)
"""The same with HPA's defaults; all others are equal."""


def _following(
    sample: Callable[[State], LoadSample], target: int, spec: Autoscaling = SPEC
) -> Policy:
    history = initial_history(LEAST, 0.0)

    def policy(state: State) -> int:
        nonlocal history
        decision, history = decide_replicas(spec, history, sample(state), target, state.now)
        return decision.replicas

    return policy


def _spread(total: int, count: int) -> list[int]:
    share, rest = divmod(total, max(count, 1))
    return [share + (number < rest) for number in range(count)]


def ours(_: Trace) -> Policy:
    """Return the operator's own driver."""
    return _following(_signals, TARGET)


def ours_never_frozen(_: Trace) -> Policy:
    """Return the operator's own driver without the freeze."""
    return _following(_signals, TARGET, SPEC.model_copy(update={"freeze_loop_share": 1.0}))


def ours_with_hpas_windows(_: Trace) -> Policy:
    """Return the operator's own driver with the windows that HPA has by default."""
    return _following(_signals, TARGET, AS_HPA)


def _signals(state: State) -> LoadSample:
    waiting = _spread(state.waiting, len(state.pods))
    return LoadSample(
        tuple(
            PodLoad(running, queued, queued, looping, usage)
            for (running, looping, usage), queued in zip(state.pods, waiting, strict=True)
        )
    )


def hpa_on_running(_: Trace) -> Policy:
    """Return HPA on `vllm:num_requests_running`."""
    return _following(
        lambda state: LoadSample(tuple(PodLoad(one) for one, *_ in state.pods)), TARGET, AS_HPA
    )


def hpa_on_running_and_waiting(_: Trace) -> Policy:
    """Return HPA on running and waiting requests together."""

    def sample(state: State) -> LoadSample:
        waiting = _spread(state.waiting, len(state.pods))
        return LoadSample(
            tuple(PodLoad(one, more) for (one, *_), more in zip(state.pods, waiting, strict=True))
        )

    return _following(sample, TARGET, AS_HPA)


def keda_on_tokens(_: Trace) -> Policy:
    """Return HPA on the rate of generated tokens, as KEDA's Prometheus trigger gives it."""
    rates: deque[float] = deque(maxlen=int(RATE_WINDOW / LOOK_SECONDS))

    def sample(state: State) -> LoadSample:
        rates.append(state.tokens_a_second)
        mean = round(sum(rates) / len(rates))
        return LoadSample(tuple(PodLoad(one) for one in _spread(mean, len(state.pods))))

    return _following(sample, TARGET_TOKENS, AS_HPA)


def oracle(trace: Trace) -> Policy:
    """Return a policy that knows the productive load of the next five and a half minutes."""
    load = productive_load(list(trace.requests()), trace.seconds)
    ahead = int(330 / LOOK_SECONDS)

    def policy(state: State) -> int:
        at = int(state.now / LOOK_SECONDS)
        peak = max(load[at : at + ahead], default=0)
        return min(max(math.ceil(peak / TARGET), LEAST), MOST)

    return policy


def productive_load(requests: list[Request], seconds: float) -> list[int]:
    """Return requests in flight at each look, if none waited and none looped."""
    steps = int(seconds / LOOK_SECONDS) + 2
    change = [0] * (steps + 1)
    for one in requests:
        end = one.arrival + one.useful * token_seconds(TARGET)
        change[min(math.ceil(one.arrival / LOOK_SECONDS), steps)] += 1
        change[min(math.ceil(end / LOOK_SECONDS), steps)] -= 1
    load, level = [], 0
    for each in change:
        level += each
        load.append(level)
    return load


POLICIES: dict[str, Callable[[Trace], Policy]] = {
    "ours": ours,
    "ours, never frozen": ours_never_frozen,
    "ours, HPA's windows": ours_with_hpas_windows,
    "HPA, running": hpa_on_running,
    "HPA, running + waiting": hpa_on_running_and_waiting,
    "KEDA, tokens/s": keda_on_tokens,
    "oracle": oracle,
}
