"""The pods that pull images: what they need of those of an endpoint, and what would harm."""

from typing import Any

from builders import CONTEXT, Object, resource
from mistral_operator.kube import names
from mistral_operator.render import children
from mistral_operator.render.prepull import prepull_name, prepull_selector

SECRET: Object = {"pod": {"imagePullSecrets": ["registry"]}}


def rendered(spec: Object | None = None, nodes: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    """Return the children by kind and name."""
    made = children(resource(spec), CONTEXT, pulling=nodes)
    return {f"{one['kind']} {one['metadata']['name']}": one for one in made}


def daemon_set(spec: Object | None = None) -> Any:
    """Return the DaemonSet of a spec."""
    return rendered(spec)[f"DaemonSet {prepull_name(resource(spec), CONTEXT)}"]


def pod(spec: Object | None = None) -> Any:
    """Return the pod template of its DaemonSet."""
    return daemon_set(spec)["spec"]["template"]


def test_without_nodes_that_pull_there_is_no_such_child() -> None:
    assert rendered(nodes=()).keys() == {name for name in rendered() if "prepull" not in name}


def test_the_pods_are_no_replicas() -> None:
    labels = pod()["metadata"]["labels"]

    assert names.owner_of(labels) is None
    assert labels.keys().isdisjoint(names.labels("small"))
    assert labels.items() >= prepull_selector(resource(), CONTEXT).items()


def test_the_pods_request_no_gpu_and_fit_the_restricted_standard() -> None:
    (container,) = pod()["spec"]["containers"]

    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod()["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["spec"]["automountServiceAccountToken"] is False


def test_a_node_pulls_as_it_does_for_a_replica() -> None:
    spec = {
        **SECRET,
        "image": "registry.example.com/server:2",
        "imagePullPolicy": "Always",
        "pod": {
            **SECRET["pod"],
            "runtimeClassName": "nvidia",
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        },
    }
    deployment = rendered(spec)["Deployment small"]["spec"]["template"]["spec"]
    same = ("imagePullSecrets", "runtimeClassName", "tolerations", "serviceAccountName")

    assert {key: pod(spec)["spec"][key] for key in same} == {key: deployment[key] for key in same}
    (server,), (container,) = deployment["containers"], pod(spec)["spec"]["containers"]
    for key in ("image", "imagePullPolicy"):
        assert container[key] == server[key]


def test_the_image_of_a_model_is_pulled_by_its_volume() -> None:
    image = {"reference": "registry.example.com/model:1", "pullPolicy": "Always"}
    template = pod({"model": {"source": {"image": image}}})["spec"]

    assert template["volumes"] == [{"name": "model", "image": image}]
    assert template["containers"][0]["volumeMounts"][0]["name"] == "model"


def test_every_node_is_named() -> None:
    terms = pod()["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]

    assert [one["matchFields"][0]["values"] for one in terms] == [["a"], ["b"]]


def test_another_set_of_nodes_replaces_no_pod() -> None:
    one, two = (
        next(child for child in rendered(nodes=nodes).values() if child["kind"] == "DaemonSet")
        for nodes in (("a",), ("a", "b"))
    )

    assert one["metadata"]["name"] == two["metadata"]["name"]
    assert one["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_whatever_may_change_the_outcome_of_a_pull_makes_new_pods() -> None:
    specs: list[Object] = [
        {},
        {"image": "registry.example.com/server:2"},
        SECRET,
        {"imagePullPolicy": "Always"},
        {"model": {"source": {"image": {"reference": "registry.example.com/model:1"}}}},
    ]

    assert len({prepull_name(resource(spec), CONTEXT) for spec in specs}) == len(specs)
    assert prepull_name(resource({"startupSeconds": 900}), CONTEXT) == prepull_name(
        resource(), CONTEXT
    )


def test_the_network_is_closed_to_the_pods() -> None:
    policy = rendered()["NetworkPolicy small-prepull"]["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy.keys().isdisjoint({"ingress", "egress"})
    assert pod()["metadata"]["labels"].items() >= policy["podSelector"]["matchLabels"].items()
    assert "NetworkPolicy small-prepull" not in rendered({"networkPolicy": False})


def test_no_mesh_keeps_the_pods_from_starting() -> None:
    assert pod()["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod()["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"
