"""What `fit` says that would help where a model does not fit."""

from dataclasses import replace

import pytest

from fit_requests import EAGER, H100, L40S, ONE_GPU, at
from mistral_operator.fit import FitRequest, Weights, fit
from mistral_operator.fit.cards import GIB


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
            replace(ONE_GPU, gpu_memory_utilization=0.70, context_length=80_000),
            [
                "set spec.engine.contextLength to 45296 or less",
                "set spec.engine.gpuMemoryUtilization to 0.95",
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
                "set spec.engine.kvCache.memory to 642Mi",  # one block more than 640
                "set spec.engine.tensorParallelSize to 8",
            ],
            id="a fixed cache that is far too small",
        ),
        pytest.param(
            FitRequest(H100, kv_cache_memory_bytes=500 * GIB),
            [
                "remove spec.engine.kvCache.memory",
                # 77.75 free, less 22.47 of weights, 1.74 of activations and 0.87 of graphs.
                "set spec.engine.kvCache.memory to 53933Mi or less",
            ],
            id="a fixed cache that is larger than the GPU",
        ),
        pytest.param(
            FitRequest(H100, kv_cache_memory_bytes=8 * GIB, gpu_memory_utilization=0.99),
            ["set spec.engine.gpuMemoryUtilization to 0.98 or less"],
            id="a share that is not free, beside a fixed cache",
        ),
        pytest.param(
            FitRequest(H100, gpu_memory_utilization=0.99),
            ["set spec.engine.gpuMemoryUtilization to 0.98 or less"],
            id="a share that is not free",
        ),
        pytest.param(
            at(0.85, FitRequest(14 * GIB, tensor_parallel_size=8, weights=Weights.FP32)),
            [
                "set spec.model.quantization to fp8",
            ],  # 16 GPUs would do, but the model has 8 KV heads
            id="no more GPUs than the model can use",
        ),
        pytest.param(
            FitRequest(4 * GIB, tensor_parallel_size=8, weights=Weights.FP32),
            [],
            id="nothing helps but larger GPUs",
        ),
        pytest.param(
            at(0.5, EAGER),
            [
                "set spec.engine.gpuMemoryUtilization to 0.95",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
            ],
            id="a share that is too small",
        ),
        pytest.param(
            FitRequest(L40S, tensor_parallel_size=1, weights=Weights.FP32),
            [
                "set spec.engine.tensorParallelSize to 4",
                "set spec.model.quantization to fp8",
            ],
            id="twice as many GPUs are too few",
        ),
        pytest.param(
            at(0.6, ONE_GPU, weights=Weights.FP8, max_batched_tokens=131_072),
            [
                "set spec.engine.gpuMemoryUtilization to 0.95",
                "set spec.engine.maxBatchedTokens to 8192",
                "set spec.engine.tensorParallelSize to 2",
            ],
            id="steps that are too large",
        ),
        pytest.param(
            at(0.95, ONE_GPU, gpu_memory_bytes=54_550 * 1024**2),
            [
                "set spec.engine.kvCache.dtype to fp8",
                "set spec.engine.maxBatchedTokens to 2048",
                "add --enforce-eager to spec.engine.extraArgs",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
                "set spec.images.perPrompt to 0",
            ],
            id="half a GiB is missing",
        ),
        pytest.param(
            at(0.95, ONE_GPU, gpu_memory_bytes=55_100 * 1024**2, speculation=True),
            [
                "set spec.engine.kvCache.dtype to fp8",
                "set spec.engine.maxBatchedTokens to 2048",
                "remove spec.engine.speculation",
                "add --enforce-eager to spec.engine.extraArgs",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
                "set spec.images.perPrompt to 0",
            ],
            id="half a GiB is missing with speculation",
        ),
        pytest.param(
            FitRequest(12 * GIB, tensor_parallel_size=2),
            [
                (
                    "set spec.engine.gpuMemoryUtilization to 0.87 or less"
                    " and set spec.engine.tensorParallelSize to 8"
                )
            ],
            id="several changes together",
        ),
    ],
)
def test_a_request_that_does_not_fit_gets_advice(request_: FitRequest, advice: list[str]) -> None:
    result = fit(request_)

    assert not result.fits
    assert list(result.advice) == advice


@pytest.mark.parametrize(
    ("blocks", "size", "advice"),
    [
        pytest.param(
            10,
            16,
            ("remove --num-gpu-blocks-override from spec.engine.extraArgs",),
            id="fewer than a request needs",
        ),
        pytest.param(
            20_000,
            16,
            (
                "remove --num-gpu-blocks-override from spec.engine.extraArgs",
                "set spec.engine.kvCache.dtype to fp8",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
            ),
            id="more than the GPU holds",
        ),
        pytest.param(
            10_000,
            32,
            (
                "remove --num-gpu-blocks-override from spec.engine.extraArgs",
                "set spec.engine.kvCache.dtype to fp8",
                "set spec.engine.tensorParallelSize to 2",
                "set spec.model.quantization to fp8",
            ),
            id="larger blocks",
        ),
    ],
)
def test_a_number_of_blocks_that_does_not_fit_gets_advice(
    blocks: int, size: int, advice: tuple[str, ...]
) -> None:
    result = fit(replace(ONE_GPU, cache_blocks=blocks, block_tokens=size))

    assert not result.fits
    assert result.kv_cache_tokens == blocks * size
    assert result.advice == advice
