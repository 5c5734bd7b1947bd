"""Requests to `fit` for the GPUs that were measured."""

from dataclasses import replace
from typing import Any

from mistral_operator.fit import FitRequest

H100 = 81559 * 1024**2
H200 = 143771 * 1024**2
L40S = 46068 * 1024**2

ONE_GPU = FitRequest(H100, tensor_parallel_size=1)
EAGER = replace(ONE_GPU, eager=True)
BEFORE = replace(EAGER, engine_version="0.26.0")
BEFORE_ON_TWO = replace(BEFORE, tensor_parallel_size=2)
H200_EAGER = replace(EAGER, gpu_memory_bytes=H200)
H200_GRAPHS = replace(H200_EAGER, eager=False)
H200_TWO = replace(H200_EAGER, tensor_parallel_size=2)


def at(share: float, request: FitRequest, **changes: Any) -> FitRequest:
    """Return a request with another share of the GPU."""
    return replace(request, gpu_memory_utilization=share, **changes)
