"""Specs and nodes, with what the condition ModelFits says of each."""

from builders import (
    ON_CPUS,
    Object,
    merged,
    node_body,
)
from mistral_operator.api import Reason

MIG = {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-1g.10gb": "2"}
SLICED = merged(
    node_body(memory_mib=81559, status={"allocatable": MIG}),
    {"metadata": {"labels": {"nvidia.com/mig-3g.40gb.memory": "40192"}}},
)


def shared(resource: str, replicas: int) -> Object:
    """Return a node whose GPUs are advertised so many times, as GPU feature discovery labels it."""
    labels = {f"{resource}.replicas": str(replicas), f"{resource}.sharing-strategy": "time-slicing"}
    allocatable = {resource: "8", f"{resource}.shared": "8"}
    node = node_body(memory_mib=81559, status={"allocatable": allocatable})
    return merged(node, {"metadata": {"labels": labels}})


def labeled(labels: Object, name: str = "gpu-0") -> Object:
    """Return a node with GPUs of 80 GB and further labels."""
    return merged(node_body(name, memory_mib=81559), {"metadata": {"labels": labels}})


ONE_GPU = {"engine": {"tensorParallelSize": 1}}

FITTING = {
    "the label of a node tells": (None, (node_body(memory_mib=81559),), "True", Reason.FITS),
    "the resource tells": ({"pod": {"gpu": {"memory": "80Gi"}}}, (), "True", Reason.FITS),
    "the resource tells before the label": (
        {"pod": {"gpu": {"memory": "16Gi"}}},
        (node_body(memory_mib=81559),),
        "False",
        Reason.DOES_NOT_FIT,
    ),
    "the best node counts": (
        None,
        (node_body("a", memory_mib=16384), node_body("b", memory_mib=81559)),
        "True",
        Reason.FITS,
    ),
    "a node with too few GPUs does not count": (
        None,
        (node_body(gpus=1, memory_mib=81559),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a cordoned node counts": (
        None,
        (node_body(memory_mib=81559, spec={"unschedulable": True}),),
        "True",
        Reason.FITS,
    ),
    "no node has the label": (None, (node_body(),), "Unknown", Reason.GPU_MEMORY_UNKNOWN),
    "the label of the node is 0": (
        None,
        (node_body(memory_mib=0),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a slice is not as large as its card": (
        {
            "engine": {"tensorParallelSize": 1},
            "pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb"}},
        },
        (SLICED,),
        "False",
        Reason.DOES_NOT_FIT,
    ),
    "a slice without a label is unknown": (
        {
            "engine": {"tensorParallelSize": 1},
            "pod": {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}},
        },
        (SLICED,),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a GPU that pods share does not tell what one of them gets": (
        ONE_GPU,
        (shared("nvidia.com/gpu", 4),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a GPU that is shared under another name is still shared": (
        merged(ONE_GPU, {"pod": {"gpu": {"resourceName": "nvidia.com/gpu.shared"}}}),
        (shared("nvidia.com/gpu", 2),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a GPU that could be shared and is not": (
        None,
        (shared("nvidia.com/gpu", 1),),
        "True",
        Reason.FITS,
    ),
    "beside shared GPUs another node tells": (
        None,
        (shared("nvidia.com/gpu", 4), node_body("b", memory_mib=81559)),
        "True",
        Reason.FITS,
    ),
    "a slice that pods share": (
        {
            "engine": {"tensorParallelSize": 1},
            "pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb"}},
        },
        (merged(SLICED, {"metadata": {"labels": {"nvidia.com/mig-3g.40gb.replicas": "2"}}}),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "the label of one vendor says nothing of another's GPUs": (
        {"pod": {"gpu": {"resourceName": "amd.com/gpu"}}},
        (node_body(memory_mib=81559, status={"allocatable": {"amd.com/gpu": "8"}}),),
        "Unknown",
        Reason.NOT_APPLICABLE,
    ),
    "nor does a memory that the resource names": (
        {"pod": {"gpu": {"resourceName": "amd.com/gpu", "memory": "192Gi"}}},
        (),
        "Unknown",
        Reason.NOT_APPLICABLE,
    ),
    "GPUs under a name that an administrator chose": (
        {"pod": {"gpu": {"resourceName": "gpus.example.com/h100", "memory": "80Gi"}}},
        (),
        "True",
        Reason.FITS,
    ),
    "a GPU without bfloat16": (
        None,
        (labeled({"nvidia.com/gpu.compute.major": "7"}),),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "a GPU without bfloat16 for 16-bit floats": (
        {"model": {"dtype": "float16"}},
        (labeled({"nvidia.com/gpu.compute.major": "7"}),),
        "True",
        Reason.FITS,
    ),
    "a GPU without bfloat16 whose memory the resource names": (
        {"pod": {"gpu": {"memory": "80Gi"}}},
        (labeled({"nvidia.com/gpu.compute.major": "7"}),),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "a newer GPU beside an older one": (
        None,
        (
            labeled({"nvidia.com/gpu.compute.major": "7"}),
            labeled({"nvidia.com/gpu.compute.major": "9"}, name="b"),
        ),
        "True",
        Reason.FITS,
    ),
    "a capability that is no number": (
        None,
        (labeled({"nvidia.com/gpu.compute.major": "seven"}),),
        "True",
        Reason.FITS,
    ),
    "tensor parallelism over slices": (
        {"pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb"}}},
        (SLICED,),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "tensor parallelism over slices of nodes that are not there yet": (
        {"pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb", "memory": "40Gi"}}},
        (),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "tensor parallelism over slices that are called GPUs": (
        None,
        (labeled({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb"}),),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "tensor parallelism over GPUs that pods share": (
        None,
        (shared("nvidia.com/gpu", 4),),
        "False",
        Reason.GPUS_UNSUITABLE,
    ),
    "there are no GPUs": (ON_CPUS, (), "Unknown", Reason.NOT_APPLICABLE),
    "compressed weights fit": (
        {
            "model": {"quantization": "awq", "format": "huggingface"},
            "engine": {"tensorParallelSize": 1},
        },
        (node_body(memory_mib=32768),),
        "True",
        Reason.FITS,
    ),
    "files that may be compressed fit, or not": (
        {"model": {"quantization": "compressed-tensors"}, "engine": {"tensorParallelSize": 1}},
        (node_body(memory_mib=32768),),
        "Unknown",
        Reason.WEIGHTS_UNKNOWN,
    ),
    "so may another model's": (
        {"model": {"id": "somebody/fine-tuned"}, "engine": {"tensorParallelSize": 1}},
        (node_body(memory_mib=32768),),
        "Unknown",
        Reason.WEIGHTS_UNKNOWN,
    ),
    "another model fits as it is": (
        {"model": {"id": "somebody/fine-tuned"}},
        (node_body(memory_mib=81559),),
        "True",
        Reason.FITS,
    ),
    "even compressed files do not fit": (
        {"model": {"quantization": "compressed-tensors"}, "engine": {"tensorParallelSize": 1}},
        (node_body(memory_mib=12288),),
        "False",
        Reason.DOES_NOT_FIT,
    ),
    "wide weights do not": (
        {"model": {"dtype": "float32"}},
        (node_body(memory_mib=32768),),
        "False",
        Reason.DOES_NOT_FIT,
    ),
}
