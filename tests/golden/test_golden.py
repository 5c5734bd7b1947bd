"""What is rendered: reviewed as golden files, deterministic, and within the restricted standard."""

import copy
import random
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import yaml

from golden_cases import (
    EXAMPLES,
    GOLDEN,
    IMAGE,
    Case,
    body,
    cases,
    fetch_settings_in,
    pod_spec,
    server_settings_in,
)
from mistral_operator.api import parse_resource
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.kube.names import ANNOTATION_APPLIED, KIND
from mistral_operator.render import KubernetesObject, RenderContext, children
from mistral_operator.render.metadata import with_applied_digest
from mistral_operator.render.server_settings import fetch_settings, server_settings

every_case = pytest.mark.parametrize("case", cases().values(), ids=cases())

RESTRICTED_VOLUMES = {
    "configMap",
    "emptyDir",
    "persistentVolumeClaim",
    "image",
    "projected",
    "secret",
}
"""Kinds of volume that we use and the restricted Pod Security Standard allows."""


def text(objects: tuple[KubernetesObject, ...]) -> str:
    """Return objects as the golden files hold them."""
    return "---\n".join(to_yaml(one) for one in objects)


def shuffled(value: Any, source: random.Random) -> Any:
    """Return a copy of a document with the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = list(value)
        source.shuffle(keys)
        return {key: shuffled(value[key], source) for key in keys}
    return [shuffled(one, source) for one in value] if isinstance(value, list) else value


def digest(rendered: KubernetesObject) -> str:
    """Return the digest that a child carries."""
    applied: str = rendered["metadata"]["annotations"][ANNOTATION_APPLIED]
    return applied


def without_digest(rendered: KubernetesObject) -> KubernetesObject:
    """Return a child as it was before it was sealed."""
    metadata = dict(rendered["metadata"])
    kept = {
        key: one for key, one in metadata.pop("annotations").items() if key != ANNOTATION_APPLIED
    }
    return {**rendered, "metadata": metadata | ({"annotations": kept} if kept else {})}


def contains(whole: Any, part: Any) -> bool:
    """Say whether a document holds all that another does; more keys in mappings are allowed."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


@every_case
def test_children_are_what_was_reviewed(case: Case, request: pytest.FixtureRequest) -> None:
    rendered = text(case.children())
    if request.config.getoption("--update-golden", default=False):
        case.file.write_text(rendered)

    assert case.file.exists(), "`pytest tests/golden --update-golden` writes it"
    assert rendered == case.file.read_text(), (
        "review the difference, then `pytest tests/golden --update-golden` writes the file"
    )


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(cases()), "remove what is left over"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_begins_with_two_lines_on_when_to_use_it(file: Any) -> None:
    starts = [line.startswith("# ") for line in file.read_text().splitlines()[:3]]

    assert starts == [True, True, False]


@every_case
def test_no_field_of_a_case_is_misspelled(case: Case) -> None:
    # Unknown fields are ignored, so a wrong name would render a default and look right.
    assert contains(to_kubernetes(case.resource.spec), case.body["spec"])


@every_case
def test_the_same_resource_renders_the_same_bytes_whatever_the_order_of_its_keys(
    case: Case,
) -> None:
    source = random.Random(0)
    orders = [shuffled(case.body, source) for _ in range(20)]

    assert {text(replace(case, body=one).children()) for one in orders} == {text(case.children())}


@every_case
def test_rendering_changes_neither_the_body_nor_the_spec(case: Case) -> None:
    original = copy.deepcopy(case.body)
    resource = parse_resource(original)
    # As text: the models of defaults are shared by all resources, so a copy would change with them.
    spec = resource.spec.model_dump_json()

    children(resource, case.context)

    assert original == case.body
    assert resource.spec.model_dump_json() == spec


@every_case
def test_the_server_reads_the_settings_that_the_operator_meant(case: Case) -> None:
    pod, spec = pod_spec(case.children()), case.resource.spec

    assert server_settings_in(pod) == server_settings(spec)
    assert fetch_settings_in(pod) == fetch_settings(spec)


@every_case
def test_every_pod_keeps_the_restricted_pod_security_standard(case: Case) -> None:
    pod = pod_spec(case.children())
    containers = pod["containers"] + pod.get("initContainers", [])

    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser", 1) > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True, "more than the standard requires"
        # What would override the pod's own context, or raise rights.
        assert not {"privileged", "runAsUser", "runAsNonRoot", "seccompProfile", "procMount"} & set(
            own
        )
        assert all("hostPort" not in port for port in container.get("ports", []))
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= RESTRICTED_VOLUMES


@every_case
def test_no_pod_has_a_token_of_the_api_server_and_only_fetching_sees_the_hub_s(case: Case) -> None:
    pod = pod_spec(case.children())
    (server,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    configured = [one.name for one in case.resource.spec.pod.env]
    own = ["MISTRAL_SERVER_SETTINGS", "MISTRAL_SERVER_ENDPOINT"]
    if case.resource.spec.cache is not None:
        own.append("MISTRAL_SERVER_COMPILE_CACHE")
    assert [env["name"] for env in server["env"]] == [*configured, *own]
    secrets = [env["name"] for env in server["env"] if "secretKeyRef" in str(env)]
    assert {*secrets} <= {*configured} - {"HF_TOKEN"}


@every_case
def test_every_mount_has_a_volume_and_every_volume_a_mount(case: Case) -> None:
    pod = pod_spec(case.children())
    containers = pod["containers"] + pod.get("initContainers", [])
    mounted = {mount["name"] for one in containers for mount in one["volumeMounts"]}

    assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(
    "change",
    [{"replicas": 0}, {"replicas": 7}, {"suspend": True}, {"networkPolicy": False}],
    ids=str,
)
def test_what_does_not_concern_a_pod_restarts_none(change: dict[str, Any]) -> None:
    def template(spec: dict[str, Any], *, monitors: bool = False) -> Any:
        rendered = children(parse_resource(body("m", spec)), RenderContext(IMAGE, monitors))
        return pod_spec(rendered)

    for case in cases().values():
        spec = case.body["spec"]
        assert template({**spec, **change}) == template(spec)
        assert template(spec, monitors=True) == template(spec)


def test_a_digest_changes_when_the_object_changes_and_only_then() -> None:
    everything = [one for case in cases().values() for one in case.children()]

    for one, other in combinations(everything, 2):
        same = without_digest(one) == without_digest(other)
        assert same == (digest(one) == digest(other)), (one, other)


@every_case
def test_a_digest_notices_every_field_that_disappears(case: Case) -> None:
    for rendered in case.children():
        bare = without_digest(rendered)
        assert digest(with_applied_digest(bare)) == digest(rendered)
        for field in bare.get("spec", {}):
            spec = {key: value for key, value in bare["spec"].items() if key != field}
            assert digest(with_applied_digest({**bare, "spec": spec})) != digest(rendered), field


@every_case
def test_every_child_goes_with_its_resource(case: Case) -> None:
    for rendered in case.children():
        (owner,) = rendered["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == (KIND, case.resource.name)
        assert (owner["uid"], owner["controller"]) == (case.resource.uid, True)
        assert rendered["metadata"]["namespace"] == case.resource.namespace


def test_golden_files_hold_no_anchors() -> None:
    for file in GOLDEN.glob("*.yaml"):
        tokens = yaml.scan(file.read_text())
        anchors = [one for one in tokens if isinstance(one, (yaml.AnchorToken, yaml.AliasToken))]
        assert anchors == [], file.name
