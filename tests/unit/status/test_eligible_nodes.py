"""Which nodes count for a resource whose pods need labels of them."""

import pytest

from builders import GPU, NOW, Object, merged, node_body, unschedulable_pod
from mistral_operator.api import ConditionType, Reason
from mistral_operator.status import report
from mistral_operator.watch.nodes import node_facts
from status_inputs import condition_of, status_input


def labeled(name: str, gpus: int = 8, memory_mib: int = 15360, **labels: str) -> Object:
    """Return a node with labels of an administrator."""
    node = node_body(name, gpus, memory_mib=memory_mib)
    return merged(node, {"metadata": {"labels": labels}})


SMALL = labeled("small", pool="cheap")
LARGE = labeled("large", memory_mib=143771, pool="big", zone="a")
NODES = (SMALL, LARGE)


def affinity(*terms: list[Object]) -> Object:
    """Return a spec whose pods need a node for which one of some terms holds."""
    required = {"nodeSelectorTerms": [{"matchExpressions": one} for one in terms]}
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    return {"pod": {"affinity": {"nodeAffinity": node_affinity}}}


def expression(key: str, operator: str, *values: str) -> Object:
    """Return one requirement."""
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


SELECTED: dict[str, tuple[Object, Reason]] = {
    "all nodes": ({}, Reason.FITS),
    "a label of the large node": ({"pod": {"nodeSelector": {"pool": "big"}}}, Reason.FITS),
    "a label of the small node": (
        {"pod": {"nodeSelector": {"pool": "cheap"}}},
        Reason.DOES_NOT_FIT,
    ),
    "two labels that no node has together": (
        {"pod": {"nodeSelector": {"pool": "cheap", "zone": "a"}}},
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "one of two values": (affinity([expression("pool", "In", "big", "x")]), Reason.FITS),
    "not a value": (affinity([expression("pool", "NotIn", "big")]), Reason.DOES_NOT_FIT),
    "not a value of a label that the node lacks": (
        affinity([expression("zone", "NotIn", "a")]),
        Reason.DOES_NOT_FIT,
    ),
    "a label": (affinity([expression("zone", "Exists")]), Reason.FITS),
    "no such label": (affinity([expression("zone", "DoesNotExist")]), Reason.DOES_NOT_FIT),
    "two requirements that no node meets": (
        affinity([expression("zone", "Exists"), expression("pool", "In", "cheap")]),
        Reason.GPU_MEMORY_UNKNOWN,
    ),
    "one of two terms": (
        affinity([expression("zone", "In", "b")], [expression("pool", "In", "cheap")]),
        Reason.DOES_NOT_FIT,
    ),
}


@pytest.mark.parametrize(("spec", "reason"), SELECTED.values(), ids=SELECTED)
def test_the_model_has_to_fit_a_node_that_the_pods_may_use(spec: Object, reason: Reason) -> None:
    status = report(status_input(spec=spec, nodes=NODES), NOW)

    assert condition_of(status, ConditionType.MODEL_FITS).reason == reason


def test_the_largest_node_is_one_that_the_pods_may_use() -> None:
    spec = {"pod": {"nodeSelector": {"pool": "cheap"}}, "engine": {"tensorParallelSize": 4}}
    nodes = (labeled("small", 2, pool="cheap"), LARGE)
    pod = unschedulable_pod("0/2 nodes are available.")
    ready = condition_of(report(status_input(pod, spec=spec, nodes=nodes), NOW))

    assert ready.reason == Reason.NO_FITTING_NODE
    assert f"4 {GPU} on one node, but the largest selected node offers 2" in ready.message


def test_labels_that_no_node_has_are_no_fitting_node() -> None:
    spec = {"pod": {"nodeSelector": {"pool": "huge"}}}
    pod = unschedulable_pod("0/2 nodes are available: 2 node(s) didn't match Pod's node selector.")
    ready = condition_of(report(status_input(pod, spec=spec, nodes=NODES), NOW))

    assert ready.reason == Reason.NO_FITTING_NODE
    assert "no node has the labels that spec.pod.nodeSelector" in ready.message


@pytest.mark.parametrize(
    ("pool", "fragment"),
    [("cheap", "all selected nodes together have room for 4 replicas"), ("huge", "by its labels")],
)
def test_replicas_have_room_on_nodes_that_the_pods_may_use(pool: str, fragment: str) -> None:
    spec = {"pod": {"nodeSelector": {"pool": pool}}, "autoscaling": {"maxReplicas": 8}}
    limited = condition_of(
        report(status_input(spec=spec, nodes=NODES), NOW), ConditionType.SCALING_LIMITED
    )

    assert limited.reason == Reason.TOO_FEW_GPUS
    assert fragment in limited.message


def test_a_label_with_a_time_is_no_change_of_a_node() -> None:
    def at(time: str) -> Object:
        return merged(SMALL, {"metadata": {"labels": {"nvidia.com/gfd.timestamp": time}}})

    assert node_facts(at("1735689600")) == node_facts(at("1735693200"))
