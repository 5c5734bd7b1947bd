"""Does the model fit? The numbers are those measured on an H100 80GB (81559 MiB)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.fit import GIB, Fit, FitRequest, Weights, fit

H100 = 81559 * 1024**2
L40S = 46068 * 1024**2

ONE_GPU = FitRequest(H100, tensor_parallel_size=1)


@pytest.mark.parametrize(
    ("share", "tokens"), [(0.70, 57344), (0.90, 161136), (0.93, 176704), (0.97, 197456)]
)
def test_the_tokens_of_one_gpu_are_those_that_vllm_reports(share: float, tokens: int) -> None:
    assert fit(replace(ONE_GPU, gpu_memory_utilization=share)).kv_cache_tokens == tokens


@pytest.mark.parametrize(
    ("request_", "measured"),
    [
        pytest.param(replace(ONE_GPU, kv_cache_8bit=True), 321856, id="8-bit KV cache"),
        pytest.param(replace(ONE_GPU, weights=Weights.FP8), 294368, id="8-bit weights"),
    ],
)
def test_8_bit_variants_are_within_a_fifth_of_a_percent(
    request_: FitRequest, measured: int
) -> None:
    assert fit(request_).kv_cache_tokens == pytest.approx(measured, rel=0.002)


def test_the_default_on_two_gpus_of_80_gib_holds_the_whole_context() -> None:
    answer = fit(FitRequest(H100, context_length=131_072))

    assert answer.fits
    assert answer.advice == ()
    assert answer.kv_cache_tokens > 3 * 131_072


@pytest.mark.parametrize(
    ("request_", "advice"),
    [
        pytest.param(
            FitRequest(L40S, tensor_parallel_size=1),
            [
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
            ],
            id="weights that are larger than the GPU",
        ),
        pytest.param(
            replace(ONE_GPU, gpu_memory_utilization=0.70, context_length=100_000),
            [
                "set spec.engine.contextLength to 57344 or less",
                "set spec.engine.kvCache.dtype to fp8",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
            ],
            id="a context that is longer than the cache",
        ),
        pytest.param(
            FitRequest(H100, kv_cache_memory_bytes=GIB // 4),
            [
                "remove spec.engine.kvCache.memory",
            ],
            id="a fixed cache that is far too small",
        ),
        pytest.param(
            FitRequest(14 * GIB, tensor_parallel_size=8, weights=Weights.FP32),
            [
                "set spec.model.quantization to fp8"
            ],  # 16 GPUs would do, but the model has 8 KV heads
            id="no more GPUs than the model can use",
        ),
        pytest.param(
            FitRequest(4 * GIB, tensor_parallel_size=8, weights=Weights.FP32),
            [],
            id="nothing helps but larger GPUs",
        ),
    ],
)
def test_what_does_not_fit_is_told_what_would_help(request_: FitRequest, advice: list[str]) -> None:
    answer = fit(request_)

    assert not answer.fits
    assert list(answer.advice) == advice


def test_weights_that_do_not_fit_leave_no_tokens_and_no_negative_cache() -> None:
    answer = fit(FitRequest(16 * GIB, tensor_parallel_size=1))

    assert (answer.kv_cache_tokens, answer.kv_cache_gib) == (0, 0.0)


def test_the_vision_encoder_is_held_by_every_rank() -> None:
    with_images, without = fit(ONE_GPU), fit(replace(ONE_GPU, images=False))
    sharded = [fit(FitRequest(H100, 4, images=images)).weights_gib for images in (True, False)]

    assert with_images.weights_gib - without.weights_gib == pytest.approx(0.82)
    assert sharded[0] - sharded[1] == pytest.approx(0.82)


def test_a_fixed_cache_is_taken_as_it_is_where_it_fits() -> None:
    answer = fit(FitRequest(H100, kv_cache_memory_bytes=5 * GIB))

    assert answer.kv_cache_gib == 5
    assert answer.kv_cache_tokens == 2 * 5 * GIB // 163_840


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
    kv_cache_memory_bytes=st.none() | st.integers(1, 64).map(lambda gib: gib * GIB),
)


def followed(request: FitRequest, advice: str) -> FitRequest:
    """Return the request of somebody who did what an advice says."""
    verb, field, *rest = advice.split()
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
        case "remove", "spec.engine.kvCache.memory":
            return replace(request, kv_cache_memory_bytes=None)
    raise AssertionError(f"nobody knows how to follow: {advice}")


@given(requests)
def test_following_any_advice_makes_it_fit(request_: FitRequest) -> None:
    for advice in fit(request_).advice:
        assert fit(followed(request_, advice)).fits, advice


@given(requests)
def test_an_answer_is_consistent(request_: FitRequest) -> None:
    answer = fit(request_)

    assert answer.fits == (answer.kv_cache_tokens >= answer.needed_tokens)
    assert answer.kv_cache_tokens % 16 == 0
    assert not (answer.fits and answer.advice)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"gpu_memory_bytes": 193 * GIB}, id="more memory"),
        pytest.param({"tensor_parallel_size": 8}, id="more GPUs"),
        pytest.param({"gpu_memory_utilization": 0.99}, id="a larger share"),
        pytest.param({"max_batched_tokens": 256}, id="smaller steps"),
        pytest.param({"kv_cache_8bit": True}, id="a narrower cache"),
        pytest.param({"weights": Weights.INT4}, id="narrower weights"),
        pytest.param({"images": False}, id="no images"),
        pytest.param({"kv_cache_memory_bytes": None}, id="no fixed cache"),
    ],
)
@given(request_=requests)
def test_more_room_never_leaves_fewer_tokens(request_: FitRequest, change: dict[str, int]) -> None:
    roomier: Fit = fit(replace(request_, **change))  # type: ignore[arg-type]  # checked at run time

    assert roomier.kv_cache_tokens >= fit(request_).kv_cache_tokens
