"""Whether GPUs can run the model at all, whatever their memory. Pure."""

from dataclasses import dataclass

_BFLOAT16_MAJOR = 8
"""Major compute capability from which on GPUs compute in bfloat16; vLLM refuses older ones."""

_OTHER_VENDORS = {
    "amd.com": "AMD",
    "gpu.intel.com": "Intel",
    "habana.ai": "Intel Gaudi",
    "google.com": "Google",
    "aws.amazon.com": "AWS",
    "huawei.com": "Huawei",
}
"""Domains of extended resources that are no GPUs of NVIDIA."""


def other_vendor(resource: str) -> str | None:
    """Return who makes the devices of an extended resource, if they are not those of NVIDIA."""
    return _OTHER_VENDORS.get(resource.partition("/")[0])


@dataclass(frozen=True, slots=True)
class GpuTraits:
    """What GPU feature discovery says of the GPUs of a node, beside their memory."""

    compute_major: int | None = None
    """Major compute capability; None if it is not known."""
    slices: bool = False
    """They are MIG slices."""
    replicas: int = 1
    """Number of pods that may share one of them."""
    strategy: str = ""
    """How pods share one: `time-slicing` or `mps`."""


def unsuitable(
    traits: GpuTraits, *, resource: str, tensor_parallel_size: int, dtype: str
) -> str | None:
    """Return why GPUs cannot run the model and what to change, None if nothing speaks against it.

    Args:
        traits: of the GPUs.
        resource: the extended resource that is requested.
        tensor_parallel_size: GPUs of each replica.
        dtype: data type of weights and activations.
    """
    if tensor_parallel_size > 1 and traits.slices:
        return (
            f"{resource} is a MIG slice, and NCCL does not connect the ranks of tensor parallelism"
            " over slices: set spec.engine.tensorParallelSize to 1, or use whole GPUs"
        )
    if tensor_parallel_size > 1 and traits.replicas > 1:
        return (
            f"{traits.replicas} pods share each {resource} by {traits.strategy or 'time-slicing'},"
            " and two ranks of tensor parallelism cannot use one GPU: set"
            " spec.engine.tensorParallelSize to 1, or use GPUs that are not shared"
        )
    major = traits.compute_major
    if dtype == "bfloat16" and major is not None and major < _BFLOAT16_MAJOR:
        return (
            f"the GPUs have compute capability {major}.x, and bfloat16 needs {_BFLOAT16_MAJOR}.0 or"
            " higher: use newer GPUs; 7.5 can run spec.model.dtype float16, which can overflow"
        )
    return None
