"""What holds of every fit: advice helps, and more room never leaves less."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mistral_operator.fit import Fit, FitRequest, Weights, fit
from mistral_operator.fit.cards import GIB

requests = st.builds(
    FitRequest,
    gpu_memory_bytes=st.integers(8, 192).map(lambda gib: gib * GIB),
    tensor_parallel_size=st.sampled_from([1, 2, 4, 8]),
    weights=st.sampled_from(Weights),
    kv_cache_8bit=st.booleans(),
    gpu_memory_utilization=st.floats(0.1, 0.99),
    max_batched_tokens=st.integers(256, 131_072),
    context_length=st.none() | st.integers(1024, 131_072),
    images=st.booleans(),
    kv_cache_memory_bytes=st.none() | st.integers(1, 256 * GIB),
    cache_blocks=st.none() | st.none() | st.integers(0, 100_000),
    block_tokens=st.sampled_from([16, 32, 64]),
    eager=st.booleans(),
    speculation=st.booleans(),
    engine_version=st.sampled_from([None, "0.26.0", "0.29", "0.32.0", "0.33.0", "nightly"]),
)


def followed(request: FitRequest, advice: str) -> FitRequest:
    """Return the request after all changes of an advice were made."""
    for change in advice.split(" and "):
        request = changed(request, change)
    return request


def changed(request: FitRequest, change: str) -> FitRequest:
    """Return the request with one change made."""
    verb, field, *rest = change.split()
    value = rest[1] if rest else ""
    match verb, field:
        case "set", "spec.engine.contextLength":
            return replace(request, context_length=int(value))
        case "set", "spec.engine.kvCache.dtype":
            return replace(request, kv_cache_8bit=value == "fp8")
        case "set", "spec.engine.tensorParallelSize":
            return replace(request, tensor_parallel_size=int(value))
        case "set", "spec.model.quantization":
            return replace(request, weights=Weights(value))
        case "set", "spec.engine.gpuMemoryUtilization":
            return replace(request, gpu_memory_utilization=float(value))
        case "set", "spec.engine.kvCache.memory":
            mib = int(value.removesuffix("Mi"))
            return replace(request, kv_cache_memory_bytes=mib * 1024**2)
        case "remove", "spec.engine.kvCache.memory":
            return replace(request, kv_cache_memory_bytes=None)
        case "set", "spec.engine.maxBatchedTokens":
            return replace(request, max_batched_tokens=int(value))
        case "set", "spec.images.perPrompt":
            return replace(request, images=int(value) > 0)
        case "remove", "--num-gpu-blocks-override":
            return replace(request, cache_blocks=None)
        case "remove", "spec.engine.speculation":
            return replace(request, speculation=False)
        case "add", "--enforce-eager":
            return replace(request, eager=True)
    raise AssertionError(f"no rule to apply: {change}")


@given(requests)
def test_following_any_advice_makes_it_fit(request_: FitRequest) -> None:
    for advice in fit(request_).advice:
        assert fit(followed(request_, advice)).fits, advice


@given(requests)
@example(
    FitRequest(
        gpu_memory_bytes=11 * GIB,
        tensor_parallel_size=1,
        weights=Weights.BF16,
        gpu_memory_utilization=0.5,
        max_batched_tokens=256,
        context_length=8193,
        cache_blocks=257,
        block_tokens=32,
    )
)
def test_every_part_of_an_advice_is_needed(request_: FitRequest) -> None:
    for advice in fit(request_).advice:
        changes = advice.split(" and ")
        for spared in changes:
            rest = [one for one in changes if one != spared]
            assert not rest or not fit(followed(request_, " and ".join(rest))).fits, spared


@given(requests)
def test_more_memory_is_advised_only_if_no_setting_helps(request_: FitRequest) -> None:
    result = fit(request_)
    roomiest = replace(
        request_,
        tensor_parallel_size=8,
        weights=min(request_.weights, Weights.FP8, key=[*reversed(Weights)].index),
        kv_cache_8bit=True,
        gpu_memory_utilization=0.95,
        max_batched_tokens=256,
        context_length=None,
        images=False,
        kv_cache_memory_bytes=None,
        cache_blocks=None,
        eager=True,
        speculation=False,
    )

    if not result.fits and not result.advice:
        assert not fit(roomiest).fits


@given(requests)
def test_a_result_is_consistent(request_: FitRequest) -> None:
    result = fit(request_)

    enough = result.longest_request >= result.needed_tokens
    assert result.fits == (enough and result.claimed_gib <= result.free_gib)
    assert result.kv_cache_tokens % 16 == 0
    assert not (result.fits and result.advice)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"gpu_memory_bytes": 193 * GIB}, id="more memory"),
        pytest.param({"tensor_parallel_size": 8}, id="more GPUs"),
        pytest.param({"gpu_memory_utilization": 0.99}, id="a larger share"),
        pytest.param({"kv_cache_memory_bytes": 256 * GIB}, id="a larger fixed cache"),
        pytest.param({"max_batched_tokens": 256}, id="smaller steps"),
        pytest.param({"kv_cache_8bit": True}, id="a narrower cache"),
        pytest.param({"weights": Weights.INT4}, id="narrower weights"),
        pytest.param({"images": False}, id="no images"),
        pytest.param({"eager": True}, id="no CUDA graphs"),
        pytest.param({"speculation": False}, id="no speculative decoding"),
        pytest.param({"engine_version": "0.26"}, id="an older vLLM"),
    ],
)
@given(request_=requests)
def test_more_room_never_leaves_fewer_tokens(request_: FitRequest, change: dict[str, Any]) -> None:
    roomier: Fit = fit(replace(request_, **change))

    assert roomier.kv_cache_tokens >= fit(request_).kv_cache_tokens


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"gpu_memory_bytes": 193 * GIB}, id="more memory"),
        pytest.param({"max_batched_tokens": 256}, id="smaller steps"),
        pytest.param({"kv_cache_8bit": True}, id="a narrower cache"),
        pytest.param({"weights": Weights.INT4}, id="narrower weights"),
        pytest.param({"images": False}, id="no images"),
        pytest.param({"eager": True}, id="no CUDA graphs"),
        pytest.param({"speculation": False}, id="no speculative decoding"),
        pytest.param({"context_length": 1024}, id="a shorter context"),
    ],
)
@given(request_=requests)
def test_what_fits_still_fits_with_more_room(request_: FitRequest, change: dict[str, Any]) -> None:
    assert fit(replace(request_, **change)).fits >= fit(request_).fits


@given(requests, st.integers(8 * GIB, 192 * GIB), st.integers(0, 2 * GIB))
def test_a_slightly_larger_gpu_never_leaves_fewer_tokens(
    request_: FitRequest, memory: int, more: int
) -> None:
    less, larger = (
        fit(replace(request_, gpu_memory_bytes=size)).kv_cache_tokens
        for size in (memory, memory + more)
    )

    assert larger >= less
