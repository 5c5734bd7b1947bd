"""The source of the figures in a result, as text for users."""

from mistral_operator.fit.gpu_memory import ENGINES, engine_overhead, parse_version
from mistral_operator.fit.rule import FitRequest, Weights

_MEASURED_TOKENS = {1: (8192, 16_384), 2: (8192,)}
"""Batched tokens per step that were measured, by number of GPUs."""
_MAX_GPUS = max(_MEASURED_TOKENS)
_UNMEASURED_WEIGHTS = {Weights.FP32: "32-bit weights", Weights.INT4: "4-bit weights"}


def source_of_figures(request: FitRequest) -> str:
    """Return which version was measured, and which parts of the request were not."""
    row = engine_overhead(request.engine_version)
    measured = "measured with vLLM {}.{}".format(*row.version)
    unmeasured = _unmeasured(request)
    text = f"computed for {', '.join(unmeasured)} from those {measured}" if unmeasured else measured
    version = parse_version(request.engine_version or "")
    if version is None or version == row.version:
        return text
    text += "; {}.{} was not measured".format(*version)
    later = next((one.version for one in ENGINES if one.version > version), None)
    if version > row.version and later is not None:
        text += " and may take more memory, as {}.{} does".format(*later)
    return text


def _unmeasured(request: FitRequest) -> list[str]:
    ranks, tokens = request.tensor_parallel_size, request.max_batched_tokens
    unmeasured = []
    if ranks > _MAX_GPUS:
        unmeasured.append(f"{ranks} GPUs")
    if tokens not in _MEASURED_TOKENS[min(ranks, _MAX_GPUS)]:
        unmeasured.append(f"{tokens} batched tokens")
    if request.weights in _UNMEASURED_WEIGHTS:
        unmeasured.append(_UNMEASURED_WEIGHTS[request.weights])
    if not request.images:
        unmeasured.append("text only")
    row = engine_overhead(request.engine_version)
    if request.speculation and (ranks > 1 or row.version != ENGINES[-1].version):
        unmeasured.append("speculative decoding")
    return unmeasured
