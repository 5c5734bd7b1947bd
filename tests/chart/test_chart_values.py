"""values.yaml, its schema and its documentation say the same, and helm refuses what they do not."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart_rendering import CHART, HelmRefused, render
from mistral_dev import chart_documents
from mistral_dev.errors import UsageError
from mistral_operator.kube.errors import CannotStart
from mistral_operator.process.settings import Settings, read_settings
from refused_peers import FORM, METADATA

TEXT = (CHART / "values.yaml").read_text()
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each value that the schema knows, with its own schema."""
    if "default" in schema:
        yield path, schema
        return
    for name, below in schema["properties"].items():
        yield from leaves(below, f"{path}.{name}".lstrip("."))


def value_at(path: str) -> Any:
    """Return the default of a value, by its dotted path."""
    value: Any = VALUES
    for part in path.split("."):
        value = value[part]
    return value


def test_every_value_has_a_type_a_default_and_a_description() -> None:
    for path, schema in leaves(SCHEMA):
        assert schema["type"]
        assert schema["default"] == value_at(path)
        assert re.fullmatch(r"[A-Z].*\.", schema["description"]), path


def test_the_schema_knows_every_value_and_no_other() -> None:
    def check(schema: dict[str, Any], values: Any) -> None:
        if "default" not in schema:
            assert schema["additionalProperties"] is False
            assert set(schema["properties"]) == set(values)
            for name, below in schema["properties"].items():
                check(below, values[name])

    check(SCHEMA, VALUES)


def test_every_value_is_used_by_a_template() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    # Images and monitors reach their template as a whole.
    whole = (
        "image.",
        "server.image.",
        "router.image.",
        "metrics.podMonitor.",
        "metrics.serviceMonitor.",
    )
    for path, _ in leaves(SCHEMA):
        if path == "global":
            continue
        named = next((group.rstrip(".") for group in whole if path.startswith(group)), path)
        assert f".Values.{named}" in templates, path


def test_the_readme_has_a_row_for_every_value() -> None:
    readme = (CHART / "README.md").read_text()
    for path, schema in leaves(SCHEMA):
        default = json.dumps(schema["default"])
        assert f"| `{path}` | `{default}` | {schema['description']} |" in readme


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a tag with a colon": ({"image": {"tag": "a:b"}}, r"/image/tag.*pattern"),
    "misspelt": ({"replica": 2}, r"'replica' not allowed"),
    "no type of a Service": (
        {"allowedServiceTypes": ["ExternalName"]},
        r"/allowedServiceTypes/0.*'NodePort', 'LoadBalancer'",
    ),
    "no tag": ({"image": {"tag": "a:b"}}, r"/image/tag.*pattern"),
    "misspelt below": ({"image": {"repo": "x"}}, r"/image.*'repo' not allowed"),
    "text for a number": ({"replicas": "two"}, r"/replicas.*got string, want integer"),
    "number for a text": ({"image": {"tag": 1.0}}, r"/image/tag.*got number, want string"),
    "below its range": ({"concurrency": 0}, r"/concurrency.*minimum"),
    "not one of": ({"log": {"format": "xml"}}, r"/log/format.*'text', 'json'"),
    "no list": ({"watchNamespaces": "a,b"}, r"/watchNamespaces.*want array"),
    "no name of a namespace": ({"watchNamespaces": ["A b"]}, r"/watchNamespaces/0.*pattern"),
    "no digest": ({"image": {"digest": "1234"}}, r"/image/digest.*pattern"),
    "no port": ({"networkPolicy": {"apiServerPorts": [0]}}, r"/apiServerPorts/0.*minimum"),
    "a share above all": (
        {"prometheusRule": {"loops": {"above": 3}}},
        r"/prometheusRule/loops/above.*exclusiveMaximum",
    ),
    "no quantity of memory": (
        {"resources": {"limits": {"memory": "512MB"}}},
        r"/resources/limits/memory.*pattern",
    ),
    "no quantity of a CPU": (
        {"activator": {"resources": {"requests": {"cpu": "abc"}}}},
        r"/activator/resources/requests/cpu.*pattern",
    ),
    "a negative quantity": (
        {"resources": {"limits": {"cpu": -1}}},
        r"/resources/limits/cpu.*minimum",
    ),
    "a misspelt resource": (
        {"resources": {"limits": {"mem": "1Gi"}}},
        r"/resources/limits'.*'mem' not allowed",
    ),
    "misspelt limits": (
        {"resources": {"limit": {"memory": "1Gi"}}},
        r"/resources'.*'limit' not allowed",
    ),
    "no name of objects": ({"fullnameOverride": "Foo_Bar"}, r"/fullnameOverride.*pattern"),
    "no name in a label": ({"nameOverride": "-foo"}, r"/nameOverride.*pattern"),
    "no name of a ServiceAccount": (
        {"serviceAccount": {"name": "a b"}},
        r"/serviceAccount/name.*pattern",
    ),
    "no name of a PriorityClass": ({"priorityClassName": "High"}, r"/priorityClassName.*pattern"),
    "no label": ({"podLabels": {"a": 1}}, r"/podLabels/a.*want string"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_helm_refuses_a_wrong_value_and_says_where(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmRefused, match=f"(?s){message}"):
        render(values)


@pytest.mark.parametrize("peer", [peer for peer, _ in FORM.values()], ids=FORM)
@pytest.mark.parametrize("value", ["callers", "destinations"])
def test_helm_refuses_a_peer_that_a_resource_cannot_have(value: str, peer: object) -> None:
    with pytest.raises(HelmRefused, match=f"/endpoints/{value}/0"):
        render({"endpoints": {value: [peer]}})


@pytest.mark.parametrize("peer", [peer for peer, _ in METADATA.values()], ids=METADATA)
def test_helm_refuses_a_destination_that_gives_credentials_of_the_node(peer: object) -> None:
    with pytest.raises(HelmRefused, match=r"endpoints\.destinations: .* credentials of the node"):
        render({"endpoints": {"destinations": [peer]}})


WRONG_PODS: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt field": ({"envs": []}, r"/endpoints/pod'.*'envs' not allowed"),
    "a field of resources only": (
        {"resources": {"limits": {"cpu": "8"}}},
        r"/endpoints/pod'.*'resources' not allowed",
    ),
    "a misspelt field below": (
        {"affinity": {"nodeAffinit": {}}},
        r"/endpoints/pod/affinity'.*'nodeAffinit' not allowed",
    ),
    "a volume of the node": (
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
        r"/endpoints/pod/volumes/0'.*'hostPath' not allowed",
    ),
    "a number for a text": (
        {"env": [{"name": "A", "value": 3128}]},
        r"/endpoints/pod/env/0/value'.*got number, want null or string",
    ),
    "a mount over files of the image": (
        {"volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl"}]},
        r"/endpoints/pod/volumeMounts/0/mountPath'.*pattern",
    ),
    "a volume without size": (
        {"volumes": [{"name": "a", "emptyDir": {}}]},
        r"/endpoints/pod/volumes/0/emptyDir'.*missing property 'sizeLimit'",
    ),
    "root": ({"securityContext": {"runAsUser": 0}}, r"/securityContext/runAsUser'.*minimum"),
    "no effect of a taint": (
        {"tolerations": [{"operator": "Exists", "effect": "Never"}]},
        r"/tolerations/0/effect'.*'NoSchedule', 'PreferNoSchedule', 'NoExecute'",
    ),
    "no pull Secret": (
        {"imagePullSecrets": [{"secret": "a"}]},
        r"/endpoints/pod/imagePullSecrets/0'.*'secret' not allowed",
    ),
    "no list": ({"env": {"A": "b"}}, r"/endpoints/pod/env'.*want array"),
}


@pytest.mark.parametrize(("pod", "message"), WRONG_PODS.values(), ids=WRONG_PODS)
def test_helm_refuses_pods_that_no_operator_starts_with(pod: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmRefused, match=f"(?s){message}"):
        render({"endpoints": {"pod": pod}})
    with pytest.raises(CannotStart):
        settings_with(pod)


PODS: dict[str, dict[str, Any]] = {
    "everything": {
        "labels": {"a": "b"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        "env": [
            {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
            {"name": "NO_PROXY", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
        ],
        "volumes": [
            {"name": "ca", "configMap": {"name": "ca-bundle"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "more", "emptyDir": {"sizeLimit": 1073741824}},
        ],
        "volumeMounts": [{"name": "ca", "mountPath": "/mnt/ca", "readOnly": True}],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "mig", "operator": "DoesNotExist"}]}
                    ]
                }
            }
        },
        "imagePullSecrets": ["registry", {"name": "other"}],
        "priorityClassName": "inference",
        "runtimeClassName": "nvidia",
        "schedulerName": "volcano",
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "10.0.0.8", "hostnames": ["hub.example.com"]}],
        "securityContext": {"runAsUser": 5, "supplementalGroups": [7]},
    },
    "users of the platform": {"securityContext": {}},
    "null": {"securityContext": None, "tolerations": [{"operator": "Exists", "effect": None}]},
    "nothing": {},
}


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_helm_takes_pods_that_the_operator_takes(pod: dict[str, Any]) -> None:
    assert render({"endpoints": {"pod": pod}})
    settings_with(pod)


def settings_with(pod: dict[str, Any]) -> Settings:
    """Return the operator's settings with these pods of endpoints.

    Raises:
        CannotStart: they are refused.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MISTRAL_OPERATOR_ENDPOINT_PODS", json.dumps(pod))
        return read_settings(Settings)


@pytest.mark.parametrize(
    "quantity",
    ["250m", "0.5", ".5", "1", 1, 0.5, "1.5Gi", "1e9", "2E", "500M", "1k", None],
)
def test_helm_takes_each_quantity_of_kubernetes(quantity: object) -> None:
    limits = {"cpu": quantity, "memory": quantity, "ephemeral-storage": quantity}

    # The activator needs some memory.
    of_activator = {key: quantity for key in limits if key != "memory"}
    activator = {"resources": {"limits": of_activator}}

    assert render({"resources": {"limits": limits}, "activator": activator})


@pytest.mark.parametrize(
    "values",
    [
        {"fullnameOverride": "mistral-2", "nameOverride": "small"},
        {"serviceAccount": {"name": "shared.operator"}, "priorityClassName": "system-critical"},
        {"resources": {}, "activator": {"resources": None}},
    ],
    ids=["overrides", "names of other objects", "no resources"],
)
def test_helm_takes_names_of_kubernetes(values: dict[str, Any]) -> None:
    assert render(values)


@pytest.mark.parametrize(
    "registry", ["https://registry.example.com", "registry.example.com/", "Registry", "a b", 5]
)
def test_helm_refuses_what_is_no_registry(registry: object) -> None:
    with pytest.raises(HelmRefused, match="/global/imageRegistry"):
        render({"global": {"imageRegistry": registry}})


@pytest.mark.parametrize(
    "registry", ["", None, "localhost:5000", "registry.example.com", "registry.example.com:443/a/b"]
)
def test_helm_takes_registries(registry: object) -> None:
    assert render({"global": {"imageRegistry": registry}})


def test_a_parent_chart_may_share_its_globals() -> None:
    assert render({"global": {"anything": {"at": "all"}}}) == render()


def test_a_value_without_comment_is_an_error_that_names_it() -> None:
    undocumented = TEXT.replace("  # Create the ServiceAccount.\n", "")
    with pytest.raises(UsageError, match=r"serviceAccount\.create has no comment"):
        chart_documents.read_values(undocumented)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + "# Something new.\nnovelty: 1\n", "novelty"),
        (TEXT.replace("# Replicas", "# replicas: 1 #").replace("\nreplicas: 1", ""), "replicas"),
        (TEXT.replace("concurrency: 20", "concurrency: many"), "concurrency"),
    ],
    ids=["unknown to the model", "unknown to values.yaml", "of another type"],
)
def test_a_value_that_the_model_does_not_know_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)chart_values.py differ.*{message}"):
        chart_documents.read_values(text)


def test_comments_become_one_paragraph_and_blank_lines_end_them() -> None:
    value = chart_documents.read_values(TEXT)["replicas",]

    assert value.description.startswith("Number of operator replicas. One is the leader;")
    assert "\n" not in value.description
    assert "The comment above each value" not in value.description
