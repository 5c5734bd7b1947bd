"""Changes that would make a model fit: single ones, or else several together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mistral_operator.fit.rule import (
    MIN_USEFUL_CONTEXT,
    Fit,
    FitRequest,
    Weights,
    bytes_per_token,
    compute,
    reserved_tokens,
)

_MIB = 1024**2
_MIB_PER_GIB = 1024
_SIZES = (2, 4, 8)
"""Numbers of GPUs; the model has 8 KV heads."""
_MAX_SHARE = 0.95
"""The rest is for memory that vLLM takes beyond its share. Also the maximum of `spec.oom`."""
_BATCHED_TOKENS = (8192, 2048)
"""The default, and the minimum that `spec.oom` sets."""

_Changes = Iterator[tuple[FitRequest, str]]
_Kind = Callable[[FitRequest, Fit], _Changes]
"""Yields the changes of one setting, the smallest first."""


def advice(request: FitRequest, result: Fit) -> tuple[str, ...]:
    """Return each single change that helps, the cheapest for the user first.

    If none does, return a minimal set of changes that help together, or nothing if there is none.
    """
    single = [_first_that_fits(kind(request, result)) for kind in _KINDS]
    helping = tuple(sentence for sentence in single if sentence)
    if helping:
        return helping
    together = _together(request)
    return (" and ".join(together),) if together else ()


def _first_that_fits(changes: _Changes) -> str:
    return next((sentence for changed, sentence in changes if compute(changed).fits), "")


def _together(request: FitRequest) -> tuple[str, ...]:
    """Start with every kind of change, and drop those that are not needed, the costliest first."""
    kinds = list(_KINDS)
    if not _combined(request, kinds):
        return ()
    for kind in reversed(_KINDS):
        fewer = [one for one in kinds if one is not kind]
        if _combined(request, fewer):
            kinds = fewer
    steps = _combined(request, kinds)
    # What a change is set to depends on the others, so one that was needed may not be any more.
    for step in reversed(steps):
        rest = tuple(one for one in steps if one is not step)
        if rest and compute(_followed(request, rest)).fits:
            steps = rest
    return tuple(step.sentence for step in steps)


@dataclass(frozen=True, eq=False)
class _Step:
    """One change of a combination."""

    sentence: str
    fields: Mapping[str, Any]
    """What it sets."""


def _step(request: FitRequest, changed: FitRequest, sentence: str) -> _Step:
    values = {one.name: getattr(changed, one.name) for one in fields(changed)}
    return _Step(
        sentence, {name: one for name, one in values.items() if one != getattr(request, name)}
    )


def _followed(request: FitRequest, steps: Sequence[_Step]) -> FitRequest:
    return replace(request, **{name: one for step in steps for name, one in step.fields.items()})


def _combined(request: FitRequest, kinds: Sequence[_Kind]) -> tuple[_Step, ...]:
    """Return the first combination of these kinds of change that fits.

    The last kinds are tried first: the longest context depends on all other settings.
    """
    if not kinds:
        return ()
    result = compute(request)
    *others, kind = kinds
    for changed, sentence in list(kind(request, result)) or [(request, "")]:
        steps = (_step(request, changed, sentence),) if sentence else ()
        if compute(changed).fits:
            return steps
        other_steps = _combined(changed, others)
        if other_steps:
            return other_steps + steps
    return ()


def _context(request: FitRequest, result: Fit) -> _Changes:
    longest = result.longest_request
    if MIN_USEFUL_CONTEXT <= longest < result.needed_tokens:
        yield (
            replace(request, context_length=longest),
            f"set spec.engine.contextLength to {longest} or less",
        )


def _share(request: FitRequest, result: Fit) -> _Changes:
    """Raise the share of the GPU, or lower it to the memory that is free at startup."""
    share = request.gpu_memory_utilization
    follows = request.kv_cache_memory_bytes is None and request.cache_blocks is None
    if share < _MAX_SHARE and follows:
        yield (
            replace(request, gpu_memory_utilization=_MAX_SHARE),
            f"set spec.engine.gpuMemoryUtilization to {_MAX_SHARE:g}",
        )
    free = math.floor(100 * share * result.free_gib / result.claimed_gib) / 100
    if 0 < free < share:
        yield (
            replace(request, gpu_memory_utilization=free),
            f"set spec.engine.gpuMemoryUtilization to {free:g} or less",
        )


def _no_fixed_cache(request: FitRequest, result: Fit) -> _Changes:
    if request.kv_cache_memory_bytes is not None:
        yield replace(request, kv_cache_memory_bytes=None), "remove spec.engine.kvCache.memory"


def _other_fixed_cache(request: FitRequest, result: Fit) -> _Changes:
    fixed = request.kv_cache_memory_bytes
    if fixed is None or request.cache_blocks is not None:
        return
    others = result.weights_gib + result.activations_gib + result.graphs_gib
    most = math.floor((result.free_gib - others) * _MIB_PER_GIB)
    blocks = math.ceil(result.needed_tokens / request.block_tokens)
    tokens = blocks * request.block_tokens + reserved_tokens(request)
    least = math.ceil(tokens * bytes_per_token(request) / _MIB)
    if least <= most < fixed / _MIB:
        yield (
            replace(request, kv_cache_memory_bytes=most * _MIB),
            f"set spec.engine.kvCache.memory to {most}Mi or less",
        )
    elif fixed / _MIB < least <= most:
        yield (
            replace(request, kv_cache_memory_bytes=least * _MIB),
            f"set spec.engine.kvCache.memory to {least}Mi",
        )


def _no_fixed_blocks(request: FitRequest, result: Fit) -> _Changes:
    if request.cache_blocks is not None:
        yield (
            replace(request, cache_blocks=None),
            "remove --num-gpu-blocks-override from spec.engine.extraArgs",
        )


def _narrow_cache(request: FitRequest, result: Fit) -> _Changes:
    if not request.kv_cache_8bit:
        yield replace(request, kv_cache_8bit=True), "set spec.engine.kvCache.dtype to fp8"


def _batched_tokens(request: FitRequest, result: Fit) -> _Changes:
    for tokens in _BATCHED_TOKENS:
        if tokens < request.max_batched_tokens:
            yield (
                replace(request, max_batched_tokens=tokens),
                f"set spec.engine.maxBatchedTokens to {tokens}",
            )


def _eager(request: FitRequest, result: Fit) -> _Changes:
    if not request.eager:
        yield replace(request, eager=True), "add --enforce-eager to spec.engine.extraArgs"


def _no_speculation(request: FitRequest, result: Fit) -> _Changes:
    if request.speculation:
        yield replace(request, speculation=False), "remove spec.engine.speculation"


def _more_gpus(request: FitRequest, result: Fit) -> _Changes:
    for size in _SIZES:
        if size > request.tensor_parallel_size:
            yield (
                replace(request, tensor_parallel_size=size),
                f"set spec.engine.tensorParallelSize to {size}",
            )


def _narrow_weights(request: FitRequest, result: Fit) -> _Changes:
    if request.weights in {Weights.BF16, Weights.FP32}:
        yield replace(request, weights=Weights.FP8), "set spec.model.quantization to fp8"


def _no_images(request: FitRequest, result: Fit) -> _Changes:
    if request.images:
        yield replace(request, images=False), "set spec.images.perPrompt to 0"


_KINDS: tuple[_Kind, ...] = (
    _context,
    _share,
    _no_fixed_cache,
    _other_fixed_cache,
    _no_fixed_blocks,
    _narrow_cache,
    _batched_tokens,
    _no_speculation,
    _eager,
    _more_gpus,
    _narrow_weights,
    _no_images,
)
"""In the order of their cost to the user: speed, then GPUs, then features."""
