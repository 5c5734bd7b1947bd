"""The condition ModelFits: `fit`, fed with a spec and the cluster's nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mistral_operator.api import DEFAULT_MODEL, Reason, Spec
from mistral_operator.fit import BLOCK_TOKENS, Fit, FitRequest, Weights, fit
from mistral_operator.fit.suitability import GpuTraits, other_vendor, unsuitable
from mistral_operator.kube.quantities import quantity_bytes
from mistral_operator.status.eligible_nodes import selects_nodes
from mistral_operator.watch.nodes import NodeFacts, is_slice, memory_label
from mistral_server.contract.engine_args import canonical_flag


@dataclass(frozen=True, slots=True)
class FitVerdict:
    """Status, reason and message of ModelFits."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str


MORE_MEMORY = "GPUs with more memory"
"""What helps where no change of the settings does."""

_MOST = 10**12
"""Larger numbers change no answer, and would not go into a float."""

_EAGER = "--enforce-eager"
"""vLLM refuses this flag with a value, so `--enforce-eager=True` turns nothing off."""


def fit_request(spec: Spec, gpu_memory_bytes: int, engine_version: str | None = None) -> FitRequest:
    """Return what has to fit for a spec.

    Args:
        spec: the settings in force.
        gpu_memory_bytes: of one GPU, as nvidia-smi shows it.
        engine_version: of vLLM, as a running engine reports it; None is the pinned one.
    """
    engine = spec.engine
    memory = engine.kv_cache.memory
    return FitRequest(
        gpu_memory_bytes=gpu_memory_bytes,
        tensor_parallel_size=engine.tensor_parallel_size,
        weights=_weights(spec),
        kv_cache_8bit=engine.kv_cache.dtype.startswith("fp8"),
        gpu_memory_utilization=engine.gpu_memory_utilization,
        max_batched_tokens=engine.max_batched_tokens,
        context_length=None if engine.context_length == "auto" else engine.context_length,
        images=spec.images.per_prompt > 0,
        kv_cache_memory_bytes=None if memory is None else quantity_bytes(memory),
        cache_blocks=_last_number(engine.extra_args, "--num-gpu-blocks-override"),
        block_tokens=_last_number(engine.extra_args, "--block-size") or BLOCK_TOKENS,
        eager=any(argument.replace("_", "-") == _EAGER for argument in engine.extra_args),
        speculation=engine.speculation is not None,
        engine_version=engine_version,
    )


def _last_number(arguments: list[str], flag: str) -> int | None:
    """Return the value of an argument as vLLM takes it, None where it is not given or refused."""
    values = [one.partition("=")[2] for one in arguments if canonical_flag(one) == flag]
    try:
        return min(max(0, int(values[-1])), _MOST)
    except (IndexError, ValueError):
        return None


def model_fits(
    spec: Spec, nodes: tuple[NodeFacts, ...], engine_version: str | None = None
) -> FitVerdict:
    """Say whether a spec fits the GPUs of the best of the nodes that its pods may use."""
    if spec.device == "cpu":
        return FitVerdict("Unknown", Reason.NOT_APPLICABLE, "the model runs on CPUs")
    resource = spec.pod.gpu.resource_name
    if (vendor := other_vendor(resource)) is not None:
        return FitVerdict(
            "Unknown",
            Reason.NOT_APPLICABLE,
            f"{resource} is a device of {vendor}: memory figures and server image are for GPUs of"
            " NVIDIA",
        )
    enough = [node for node in nodes if node.count(resource) >= spec.engine.tensor_parallel_size]
    usable = [node for node in enough if why_unsuitable(spec, node.traits(resource)) is None]
    against = next((why_unsuitable(spec, node.traits(resource)) for node in enough), None)
    # Without a node, the name of the resource still says that it is a slice.
    against = against or why_unsuitable(spec, GpuTraits(slices=is_slice(resource)))
    if against is not None and not usable:
        return FitVerdict("False", Reason.GPUS_UNSUITABLE, against)
    memory = _gpu_memory(spec, usable)
    if memory is None:
        return FitVerdict("Unknown", Reason.GPU_MEMORY_UNKNOWN, _no_memory(spec, usable))
    request = fit_request(spec, memory, engine_version)
    answer = fit(request)
    if not answer.fits and may_be_compressed(spec):
        least = fit(replace(request, weights=Weights.INT4))
        if least.fits:
            return FitVerdict(
                "Unknown",
                Reason.WEIGHTS_UNKNOWN,
                f"16-bit weights do not fit ({_numbers(answer)}) but 4-bit weights would"
                f" ({_numbers(least)}); it depends on the precision of the checkpoint",
            )
    return _verdict(answer)


def why_unsuitable(spec: Spec, traits: GpuTraits) -> str | None:
    """Return why GPUs cannot run a spec, whatever their memory."""
    return unsuitable(
        traits,
        resource=spec.pod.gpu.resource_name,
        tensor_parallel_size=spec.engine.tensor_parallel_size,
        dtype=spec.model.dtype,
    )


def _no_memory(spec: Spec, nodes: Sequence[NodeFacts]) -> str:
    resource = spec.pod.gpu.resource_name
    selected = "selected " if selects_nodes(spec) else ""
    shared = next(
        (node.traits(resource) for node in nodes if node.traits(resource).replicas > 1), None
    )
    if shared is not None:
        return (
            f"{shared.replicas} pods share each {resource} by"
            f" {shared.strategy or 'time-slicing'}: set spec.pod.gpu.memory to the memory that one"
            " of them may use to enable this check"
        )
    if not resource.startswith("nvidia.com/"):
        return (
            f"no label of a node has the memory of {resource}: set spec.pod.gpu.memory to that of"
            " one device to enable this check"
        )
    return (
        f"no {selected}node with enough GPUs has the label {memory_label(resource)}: set"
        " spec.pod.gpu.memory to the memory of one GPU to enable this check"
    )


def may_be_compressed(spec: Spec) -> bool:
    """Tell whether the files may hold fewer bits than the spec says."""
    model = spec.model
    return model.quantization == "compressed-tensors" or (
        model.quantization is None and model.id != DEFAULT_MODEL and model.dtype != "float32"
    )


def _numbers(answer: Fit) -> str:
    if not answer.starts:
        return (
            f"the engine needs {answer.claimed_gib:.2f} GiB of free memory on each GPU at startup,"
            f" but only {answer.free_gib:.2f} GiB are free (weights take {answer.weights_gib:.2f}"
            f" GiB, the KV cache {answer.kv_cache_gib:.2f} GiB)"
        )
    return (
        f"weights take {answer.weights_gib:.1f} of {answer.budget_gib:.1f} GiB on each GPU,"
        f" and the KV cache of a replica holds {answer.kv_cache_tokens} tokens"
    )


def _verdict(answer: Fit) -> FitVerdict:
    numbers = _numbers(answer)
    if answer.fits:
        return FitVerdict("True", Reason.FITS, numbers)
    remedy = " or ".join(answer.advice) or f"use {MORE_MEMORY}"
    needed = f", {_needed(answer)}" if answer.starts else ""
    return FitVerdict("False", Reason.DOES_NOT_FIT, f"{numbers}{needed}: {remedy}")


def _needed(answer: Fit) -> str:
    """Say how many tokens are needed and, where that explains it, how many a request can have."""
    if answer.longest_request < answer.needed_tokens <= answer.kv_cache_tokens:
        longest, needed = answer.longest_request, answer.needed_tokens
        return f"of which one request can use {longest}, but {needed} are needed"
    return f"but {answer.needed_tokens} are needed"


def _gpu_memory(spec: Spec, nodes: Sequence[NodeFacts]) -> int | None:
    """Return the memory of one GPU of the best of some nodes."""
    if spec.pod.gpu.memory is not None:
        return quantity_bytes(spec.pod.gpu.memory)
    sizes = [node.memory(spec.pod.gpu.resource_name) for node in nodes]
    return max((size for size in sizes if size is not None), default=None)


def _weights(spec: Spec) -> Weights:
    match spec.model.quantization:
        case "fp8":
            return Weights.FP8
        case "awq" | "gptq":
            return Weights.INT4
        case _:
            return Weights.FP32 if spec.model.dtype == "float32" else Weights.BF16
