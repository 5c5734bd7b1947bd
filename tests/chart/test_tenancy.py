"""The examples for tenants: the values are taken by helm, and the quota refuses no endpoint."""

from typing import Any

import pytest
import yaml

from builders import CONTEXT, resource
from chart_rendering import Object, of_kind, operator_container, render, render_all
from mistral_dev.paths import CHECKOUT
from mistral_operator.kube.quantities import quantity_bytes
from mistral_operator.render import children

TENANCY = CHECKOUT / "examples" / "tenancy"
VALUES: dict[str, Any] = yaml.safe_load((TENANCY / "values.yaml").read_text())
QUOTA, LIMITS = yaml.safe_load_all((TENANCY / "quota.yaml").read_text())
(DEFAULTS,) = LIMITS["spec"]["limits"]

COMPUTE = ("cpu", "memory", "ephemeral-storage")

ENDPOINTS: dict[str, Object] = {
    "on GPUs": {},
    "with a cache": {"cache": {}},
    "on CPUs": {"device": "cpu", "engine": {"kvCache": {"memory": "4Gi"}}},
}


def test_the_values_for_tenants_close_what_the_documentation_says() -> None:
    rendered = render_all(VALUES)
    policies = {one["metadata"]["name"] for one in of_kind(rendered, "ValidatingAdmissionPolicy")}
    environment = {one["name"]: one.get("value") for one in operator_container(VALUES)["env"]}
    roles = [one["metadata"] for one in of_kind(rendered, "ClusterRole")]

    assert policies == {
        "mistral-small-operator-children",
        "mistral-small-operator-resources",
        "mistral-small-operator-resources-scale",
    }
    assert environment["MISTRAL_OPERATOR_NAMESPACES"] == "team-a,team-b"
    assert environment["MISTRAL_OPERATOR_ISOLATE_ENDPOINTS"] == "true"
    assert environment["MISTRAL_OPERATOR_ACTIVATOR_SERVICE"] == ""
    assert not [label for role in roles for label in role["labels"] if "aggregate-to" in label]


def test_the_values_for_tenants_name_every_limit_on_resources() -> None:
    (policy,) = (
        one
        for one in of_kind(render(VALUES), "ValidatingAdmissionPolicy")
        if one["metadata"]["name"].endswith("-resources")
    )
    default = yaml.safe_load((CHECKOUT / "charts/mistral-small-operator/values.yaml").read_text())

    assert VALUES["admission"]["resources"].keys() == default["admission"]["resources"].keys()
    # One for each but `enabled`, one more for the affinity of nodes, and that there is a spec.
    assert len(policy["spec"]["validations"]) == len(VALUES["admission"]["resources"]) + 1


def containers(spec: Object) -> list[Object]:
    """Return the containers of an endpoint's pod, with what the LimitRange gives them."""
    rendered = children(resource(spec), CONTEXT)
    (deployment,) = [one for one in rendered if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    result = []
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        own = container.get("resources", {})
        limits = {**DEFAULTS["default"], **own.get("limits", {})}
        # Without a default request, a default limit is the request too.
        requests = {**limits, **DEFAULTS["defaultRequest"], **own.get("requests", {})}
        result.append({"requests": requests, "limits": limits})
    return result


@pytest.mark.parametrize("spec", ENDPOINTS.values(), ids=ENDPOINTS)
def test_the_quota_for_tenants_refuses_no_endpoint(spec: Object) -> None:
    limited = [one.partition(".") for one in QUOTA["spec"]["hard"]]
    needed = [(kind, of) for kind, _, of in limited if of in COMPUTE]

    assert {of for _, of in needed} == set(COMPUTE)
    for container in containers(spec):
        for kind, name in needed:
            assert name in container[kind]
        for name in ("memory", "ephemeral-storage"):
            request, limit = container["requests"][name], container["limits"][name]
            assert quantity_bytes(request) <= quantity_bytes(limit)


def test_the_disk_for_tenants_holds_every_volume_of_a_pod() -> None:
    rendered = children(resource({}), CONTEXT)
    (deployment,) = [one for one in rendered if one["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    on_disk = [
        quantity_bytes(one["emptyDir"]["sizeLimit"])
        for one in volumes
        if "emptyDir" in one and one["emptyDir"].get("medium") != "Memory"
    ]

    assert on_disk
    assert sum(on_disk) <= quantity_bytes(DEFAULTS["default"]["ephemeral-storage"])
