"""The configuration of Envoy: Envoy itself accepts it, for each policy and each golden file."""

import json
import subprocess
from typing import Any

import pytest
import yaml

from builders import CONTEXT, resource
from golden_cases import Case, cases
from mistral_operator.kube import names
from mistral_operator.render import children
from mistral_operator.render.router.envoy import bootstrap
from mistral_operator.render.router.listeners import POD_IP
from router_in_test import ENVOY

ROUTED = {name: case for name, case in cases().items() if case.resource.spec.routing.enabled}


def arguments(case: Case) -> list[str]:
    """Return the arguments of the container in a golden file."""
    objects = yaml.safe_load_all(case.file.read_text())
    (match,) = [
        one
        for one in objects
        if one["metadata"]["name"] == "mistral-small-router" and one["kind"] == "Deployment"
    ]
    (container,) = match["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["envoy"]
    args: list[str] = container["args"]
    return args


@pytest.mark.parametrize("address", ["10.0.0.7", "fd00::7"])
@pytest.mark.parametrize("case", ROUTED.values(), ids=ROUTED)
def test_envoy_accepts_the_arguments_of_every_golden_file(case: Case, address: str) -> None:
    args = [one.replace(f"$({POD_IP})", address) for one in arguments(case)]

    result = subprocess.run(
        [str(ENVOY), *args, "--mode", "validate"], check=False, capture_output=True, text=True
    )

    assert (result.returncode, "OK" in result.stdout) == (0, True), result.stderr
    assert "deprecated" not in result.stderr


def test_envoy_rejects_what_is_wrong() -> None:
    """So that the test above can fail."""
    configuration = bootstrap(resource({"routing": {"policy": "Prefix"}}))
    configuration["static_resources"]["clusters"][0]["connect_timeout"] = "soon"
    command = [str(ENVOY), "--mode", "validate", "--config-yaml", json.dumps(configuration)]

    result = subprocess.run(command, check=False, capture_output=True, text=True)

    assert result.returncode != 0


def test_there_is_a_golden_file_of_each_policy() -> None:
    assert {case.resource.spec.routing.policy for case in ROUTED.values()} == {
        *("LeastRequest", "Session", "Prefix")
    }


@pytest.mark.parametrize("policy", ["LeastRequest", "Session", "Prefix"])
def test_the_kubelet_replaces_nothing_but_the_address(policy: str) -> None:
    text = json.dumps(bootstrap(resource({"routing": {"policy": policy}})))

    assert text.replace(f"$({POD_IP})", "").count("$(") == 0


def child(spec: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Return one child."""
    (match,) = [
        one
        for one in children(resource(spec), CONTEXT)
        if (one["kind"], one["metadata"]["name"]) == (kind, name)
    ]
    return match


def router_pod(**routing: Any) -> dict[str, Any]:
    """Return the pod spec of a router."""
    spec = {"routing": {"policy": "Prefix", **routing}}
    match = child(spec, "Deployment", names.router("small"))
    pod: dict[str, Any] = match["spec"]["template"]["spec"]
    return pod


RESOURCES: dict[str, tuple[Any, Any]] = {
    "unset": (
        {},
        {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    ),
    "larger request": (
        {"requests": {"memory": "1Gi"}},
        {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    ),
    "small limits": (
        {"limits": {"cpu": "50m", "memory": "64Mi"}},
        {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "50m", "memory": "64Mi"},
        },
    ),
}


@pytest.mark.parametrize(("inputs", "expected"), RESOURCES.values(), ids=RESOURCES)
def test_requests_fit_into_limits(inputs: Any, expected: Any) -> None:
    (container,) = router_pod(resources=inputs)["containers"]

    assert container["resources"] == expected


def test_a_pod_of_a_router_drains_within_its_grace_period() -> None:
    pod = router_pod()
    (container,) = pod["containers"]

    (delay,) = [
        route["typed_per_filter_config"]["envoy.filters.http.fault"]["delay"]["fixed_delay"]
        for listener in json.loads(container["args"][1])["static_resources"]["listeners"]
        for route in listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"][
            "virtual_hosts"
        ][0]["routes"]
        if route["match"].get("path") == container["lifecycle"]["preStop"]["httpGet"]["path"]
    ]
    assert int(delay.removesuffix("s")) < pod["terminationGracePeriodSeconds"]


def test_no_child_selects_both_replicas_and_routers() -> None:
    replica = child({"routing": {"policy": "Prefix"}}, "Deployment", "small")
    router = child({"routing": {"policy": "Prefix"}}, "Deployment", names.router("small"))
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in (replica, router)]

    for selector, has in ((names.selector, [True, False]), (names.router_selector, [False, True])):
        assert [selector("small").items() <= each.items() for each in labels] == has
    assert names.LABEL_MANAGED_BY not in labels[1], "the operator would watch it as a replica"
