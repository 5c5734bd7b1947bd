"""Typed facts of nodes: their GPUs, and how large they are. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from mistral_operator.fit.cards import GIB
from mistral_operator.fit.suitability import GpuTraits
from mistral_operator.kube.objects import Body, shared_text
from mistral_operator.kube.quantities import parse_quantity, quantity_bytes


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node: its GPUs and other extended resources."""

    name: str
    allocatable: tuple[tuple[str, int], ...] = ()
    """Number of each extended resource, also of a cordoned node."""
    cordoned: bool = False
    """Whether no new pod may run on it."""
    ready: bool = True
    """Whether its kubelet starts pods, as far as it reports that."""
    size: tuple[tuple[str, Decimal], ...] = ()
    """Allocatable CPUs, memory and disk, also of a cordoned node."""
    gpu_memory: tuple[tuple[str, int], ...] = ()
    """Memory of one GPU or slice in bytes, by label of GPU feature discovery."""
    gpu_labels: tuple[tuple[str, str], ...] = ()
    """Other labels of GPU feature discovery that decide whether the GPUs can run the model."""
    labels: tuple[tuple[str, str], ...] = ()
    """All labels, of which resources select some, without times."""

    def count(self, resource: str) -> int:
        """Return the allocatable number of an extended resource."""
        return dict(self.allocatable).get(resource, 0)

    def memory(self, resource: str) -> int | None:
        """Return the memory of one GPU of an extended resource, if the node has its label."""
        return dict(self.gpu_memory).get(memory_label(resource))

    def traits(self, resource: str) -> GpuTraits:
        """Return what is known of the GPUs of an extended resource beside their memory."""
        labels, base = dict(self.gpu_labels), _labeled(resource)
        replicas = labels.get(f"{base}.replicas", "")
        major = labels.get("nvidia.com/gpu.compute.major", "")
        return GpuTraits(
            compute_major=int(major) if base.startswith("nvidia.com/") and major else None,
            slices=is_slice(resource) or "-MIG-" in labels.get(f"{base}.product", ""),
            replicas=int(replicas or 1),
            strategy=labels.get(f"{base}.sharing-strategy", ""),
        )


def quantities(texts: Mapping[str, str]) -> Iterator[tuple[str, Decimal]]:
    """Yield amounts by resource, without those that cannot be read."""
    for name, text in texts.items():
        try:
            yield name, parse_quantity(str(text))
        except ValueError:
            continue  # in a notation that is unusual for a pod


def node_facts(body: Body) -> NodeFacts:
    """Return the facts of a node."""
    labels = body["metadata"].get("labels", {})
    allocatable: dict[str, str] = body.get("status", {}).get("allocatable", {})
    extended = sorted((name, _count(text)) for name, text in allocatable.items() if "/" in name)
    return NodeFacts(
        name=body["metadata"]["name"],
        allocatable=tuple(extended),
        cordoned=bool(body.get("spec", {}).get("unschedulable", False)),
        ready=_is_ready(body),
        size=tuple(
            sorted((name, amount) for name, amount in quantities(allocatable) if name in _NATIVE)
        ),
        gpu_memory=tuple(_gpu_memory(labels)),
        gpu_labels=tuple(_gpu_labels(labels)),
        labels=tuple(_kept(labels)),
    )


def _is_ready(body: Body) -> bool:
    conditions = body.get("status", {}).get("conditions") or ()
    return all(one.get("status") == "True" for one in conditions if one.get("type") == "Ready")


def _kept(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the labels; most are the same on all nodes, and take no memory again.

    A label such as nvidia.com/gfd.timestamp would change the facts without a reason.
    """
    for key, value in sorted(labels.items()):
        if not key.endswith("timestamp"):
            yield shared_text(str(key)), shared_text(str(value))


_NATIVE = {"cpu", "memory", "ephemeral-storage"}


def is_slice(resource: str) -> bool:
    """Tell whether an extended resource is a MIG slice."""
    return resource.startswith("nvidia.com/mig-")


def memory_label(resource: str) -> str:
    """Return the node label with the memory of one GPU of an extended resource.

    MIG slices that are separate resources have separate labels. The label of the GPU then still has
    the memory of the whole GPU.
    """
    return f"{_labeled(resource)}.memory"


def _labeled(resource: str) -> str:
    """Return the beginning of the labels of an extended resource."""
    if resource.startswith("nvidia.com/") and not is_slice(resource):
        return "nvidia.com/gpu"  # also gpu.shared, and names that an administrator set
    return resource.removesuffix(".shared")


def _count(text: str) -> int:
    """Parse a number of resources; the API server writes 1000 as 1k."""
    try:
        return int(parse_quantity(text))
    except ValueError:
        # No replica can request it, and one such device must not stop the operator.
        return 0


_NUMBERS = (".replicas", "gpu.compute.major")
_TEXTS = (".sharing-strategy", ".product")


def _gpu_labels(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield labels such as nvidia.com/gpu.replicas, without numbers that are none."""
    for label, text in sorted(labels.items()):
        if not label.startswith("nvidia.com/"):
            continue
        is_number = text.isascii() and text.isdigit() and len(text) < 4
        if label.endswith(_TEXTS) or (label.endswith(_NUMBERS) and is_number):
            yield label, text


def _gpu_memory(labels: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Parse labels such as nvidia.com/gpu.memory: MiB, without a unit.

    The label has the memory of the whole GPU, also where several pods share it.
    """
    for label, text in sorted(labels.items()):
        resource = label.removesuffix(".memory")
        if not label.startswith("nvidia.com/") or resource == label:
            continue
        if labels.get(f"{resource}.replicas", "1") not in {"0", "1"}:
            continue
        try:
            memory = quantity_bytes(f"{text}Mi" if text.isdigit() else text)
        except ValueError:
            continue
        # GPUs that share the host's memory are labeled with 0.
        if memory >= GIB:
            yield label, memory
