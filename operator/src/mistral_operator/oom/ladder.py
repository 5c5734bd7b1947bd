"""What may help against each class, best first. Pure.

A rung is one change of one setting, from the settings in force. The rungs of a class are taken in
turns: the first of each setting, then the second of each, so that a setting that does not matter
costs one try before the next is tried. None crosses the limits of `spec.oom`.

The order is that of facts measured on an H100: what makes room for certain stands first, what
changes the service for callers (context, images) last, unless the engine says which value fits.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mistral_operator.api import Spec
from mistral_operator.api.fields import OVERRIDDEN
from mistral_operator.fit.gpu_memory import engine_overhead
from mistral_operator.kube.quantities import memory_text, quantity_bytes
from mistral_operator.oom.failures import Failure
from mistral_server.contract import FailureClass, Phase

_UTILIZATION_STEP = 0.03
"""2.4 GiB of an 80 GB GPU. That is more than the 1.2 GiB by which the CUDA graphs of vLLM 0.26
exceed the share; since 0.32 they are inside it."""
_ROUND_CONTEXT = 1024
_ROUND_FROM = 8192
"""Free memory differs by some MiB from start to start, so a long context is rounded down."""
_DEFAULT_SEQUENCES = 256
"""What vLLM takes where the spec says nothing; 1024 on the largest GPUs."""
_BUSY_RETRIES = 2
"""Failures before a change is tried: another process on the GPU may exit by itself."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One change of one setting."""

    key: str
    """The field of `Overrides`."""
    before: str
    after: str
    value: Any
    reason: str

    @property
    def setting(self) -> str:
        """The field of the resource."""
        return OVERRIDDEN[self.key].name


def rungs(spec: Spec, failure: Failure, streak: int) -> Iterator[Rung]:
    """Return what may help against a failure.

    Args:
        spec: the settings in force.
        failure: what happened.
        streak: how often in a row, this time included.
    """
    if should_retry_unchanged(failure, streak):
        return iter(())
    makers = _LADDERS.get((failure.failure, failure.phase)) or _LADDERS.get(
        (failure.failure, ""), ()
    )
    columns = [make(spec, failure) for make in makers]
    rows = itertools.zip_longest(*columns)
    return (rung for row in rows for rung in row if rung is not None)


def should_retry_unchanged(failure: Failure, streak: int) -> bool:
    """Tell whether the cause may go away by itself, so that nothing is changed yet."""
    return failure.failure is FailureClass.GPU_BUSY and streak <= _BUSY_RETRIES


def _context(spec: Spec, failure: Failure) -> Iterator[Rung]:
    length = spec.engine.context_length
    if length == "auto":
        return
    floor = spec.oom.min_context_length
    fits = failure.suggest.get("engine.context_length")
    if fits is not None and fits < length:
        value = fits - fits % _ROUND_CONTEXT if fits >= _ROUND_FROM else fits
        values: Iterable[int] = (value,)
        reason = f"the KV cache holds {fits} tokens"
    else:
        values = _halved(length)
        reason = "a shorter context needs less KV cache"
    for value in values:
        if value < floor:
            return
        yield Rung(
            "context_length",
            str(length),
            str(value),
            value,
            reason,
        )


def _utilization(sign: int) -> Callable[[Spec, Failure], Iterator[Rung]]:
    def make(spec: Spec, failure: Failure) -> Iterator[Rung]:
        engine, oom = spec.engine, spec.oom
        if spec.device != "cuda" or (sign > 0 and engine.kv_cache.memory is not None):
            return
        for count in itertools.count(1):
            value = round(engine.gpu_memory_utilization + sign * count * _UTILIZATION_STEP, 2)
            too_much = sign > 0 and value > oom.max_gpu_memory_utilization
            if too_much or (sign < 0 and value < oom.min_gpu_memory_utilization):
                return
            yield Rung(
                "gpu_memory_utilization",
                f"{engine.gpu_memory_utilization:g}",
                f"{value:g}",
                value,
                "the engine may use more GPU memory" if sign > 0 else "more GPU memory stays free",
            )

    return make


def _sequences(spec: Spec, failure: Failure) -> Iterator[Rung]:
    now = spec.engine.max_sequences
    for value in _halved(now or _DEFAULT_SEQUENCES):
        if value < spec.oom.min_sequences:
            return
        yield Rung(
            "max_sequences",
            "unset" if now is None else str(now),
            str(value),
            value,
            "fewer concurrent requests need less memory",
        )


def _batched_tokens(spec: Spec, failure: Failure) -> Iterator[Rung]:
    now, ranks = spec.engine.max_batched_tokens, spec.engine.tensor_parallel_size
    # Which vLLM failed is not known while no replica is ready; versions differ by 0.01 GiB.
    gib = engine_overhead(None).per_1024_tokens_on(ranks)
    for value in _halved(now):
        if value < spec.oom.min_batched_tokens:
            return
        yield Rung(
            "max_batched_tokens",
            str(now),
            str(value),
            value,
            f"every 1024 batched tokens take about {gib:.2f} GiB of each GPU",
        )


def _images(spec: Spec, failure: Failure) -> Iterator[Rung]:
    now, floor = spec.images.per_prompt, spec.oom.min_images_per_prompt
    for value in (4, 1, 0):
        if floor <= value < now:
            yield Rung(
                "images_per_prompt",
                str(now),
                str(value),
                value,
                "memory is reserved for the largest prompt",
            )


def _shared_memory(spec: Spec, failure: Failure) -> Iterator[Rung]:
    now, most = quantity_bytes(spec.shared_memory), quantity_bytes(spec.oom.max_shared_memory)
    for value in _doubled(now, most):
        yield Rung(
            "shared_memory",
            spec.shared_memory,
            memory_text(value),
            memory_text(value),
            "the ranks communicate through it",
        )


def _memory(spec: Spec, failure: Failure) -> Iterator[Rung]:
    limit, most = spec.memory_limit, spec.oom.max_memory
    if limit is None or most is None:
        return
    for value in _doubled(quantity_bytes(limit), quantity_bytes(most)):
        yield Rung(
            "memory",
            limit,
            memory_text(value),
            memory_text(value),
            "the container reached its memory limit",
        )


def _halved(value: int) -> Iterator[int]:
    while value > 1:
        value //= 2
        yield value


def _doubled(value: int, most: int) -> Iterator[int]:
    """Return twice the value, four times, and so on; the last is the most that is allowed."""
    while value < most:
        value = min(value * 2, most)
        yield value


Maker = Callable[[Spec, Failure], Iterator[Rung]]

_MORE, _LESS = _utilization(1), _utilization(-1)

_LADDERS: dict[tuple[FailureClass, str], tuple[Maker, ...]] = {
    (FailureClass.KV_CACHE_TOO_SMALL, ""): (_context, _MORE),
    (FailureClass.KV_CACHE_NONE, ""): (_MORE, _batched_tokens, _images),
    (FailureClass.GPU_BUSY, ""): (_LESS,),
    (FailureClass.CUDA_OOM_LOAD, ""): (),
    (FailureClass.CUDA_OOM_WARMUP, ""): (_LESS, _sequences, _batched_tokens),
    (FailureClass.CUDA_OOM_WARMUP, Phase.PROFILING): (_batched_tokens, _images, _sequences),
    (FailureClass.CUDA_OOM_RUNTIME, ""): (_LESS, _batched_tokens, _sequences),
    (FailureClass.CUDA_OOM_RUNTIME, Phase.IMAGES): (_batched_tokens, _images, _LESS),
    (FailureClass.HOST_OOM, ""): (_memory, _images),
    (FailureClass.SHM_EXHAUSTED, ""): (_shared_memory,),
}
"""Ladders by class and, where it matters, phase. Nothing but other hardware or quantization helps
against weights that do not fit: no rung."""
