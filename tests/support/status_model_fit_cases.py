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
    "no node has the label": (None, (node_body(),), "Unknown", Reason.GPU_MEMORY_UNKNOWN),
    "the label of the node is 0": (
        None,
        (node_body(memory_mib=0),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "the resource tells without a unit": (
        {"pod": {"gpu": {"memory": 81559}}},
        (node_body(memory_mib=81559),),
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
        {"pod": {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}}},
        (SLICED,),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a GPU that pods share does not tell what one of them gets": (
        None,
        (shared("nvidia.com/gpu", 4),),
        "Unknown",
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "a GPU that is shared under another name is still shared": (
        {"pod": {"gpu": {"resourceName": "nvidia.com/gpu.shared"}}},
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
        Reason.GPU_MEMORY_UNKNOWN,
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
