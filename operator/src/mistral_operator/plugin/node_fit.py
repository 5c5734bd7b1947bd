"""`kubectl msd fit`: whether an endpoint fits the GPUs that the nodes of a cluster have. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mistral_operator.api.spec import Spec
from mistral_operator.cli_fit import Case, case
from mistral_operator.fit.cards import Card
from mistral_operator.kube.objects import Body
from mistral_operator.watch.nodes import node_facts

_MIB = 1024**2
_PRODUCT = "nvidia.com/gpu.product"


class NodeFits(NamedTuple):
    """The GPUs of a cluster, each kind once, and the nodes that cannot be considered."""

    cases: list[Case]
    left_out: list[str]
    """Why nodes with GPUs are not among the cases, each a sentence."""


def fits(spec: Spec, nodes: Iterable[Body], engine_version: str | None) -> NodeFits:
    """Return whether a spec fits each kind of GPU of the nodes."""
    cards, left_out = dict[Card, None](), list[str]()
    for body in nodes:
        for one in _card_of(spec, body):
            if isinstance(one, str):
                left_out.append(one)
            else:
                cards[one] = None
    return NodeFits(
        [case(spec, one.memory_mib * _MIB, one, engine_version) for one in cards], left_out
    )


def _card_of(spec: Spec, body: Body) -> Iterator[Card | str]:
    """Yield the GPU of a node, or why it is left out; nothing for a node without GPUs."""
    resource, needed = spec.pod.gpu.resource_name, spec.engine.tensor_parallel_size
    facts = node_facts(body)
    count = facts.count(resource)
    if not count:
        return
    if count < needed:
        yield f"node {facts.name} offers {count} {resource}, and a replica needs {needed}"
        return
    memory = facts.memory(resource)
    if memory is None:
        yield f"node {facts.name} has no usable label with the memory of a GPU"
        return
    labels = body["metadata"].get("labels") or {}
    major = facts.traits(resource).compute_major
    yield Card(
        name=str(labels.get(_PRODUCT, resource)).removeprefix("NVIDIA-"),
        memory_mib=memory // _MIB,
        compute_capability=(major if major is not None else _UNKNOWN_MAJOR, 0),
    )


_UNKNOWN_MAJOR = 8
"""Compute capability where no label says it: the oldest that runs the recommended model."""
