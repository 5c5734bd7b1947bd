"""`kubectl msd` against a real API server: mistakes are found, and secrets are not passed on."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from builders import GPU
from cluster_namespace import Namespace, Object, resource
from mistral_dev.cluster import Cluster
from mistral_operator.kube import names
from mistral_operator.kube.clock import now_text
from mistral_operator.plugin.commands import msd
from mistral_operator.plugin.read_snapshot import program_version
from planted_secrets import HUB_TOKEN, JWT, secret, variables

SYSTEM = "mistral-system"
OPERATOR = "mistral-small-operator"
NODES = ("fake-0", "fake-1")
SPEC: Object = {
    "cache": {"storageClassName": "fast"},
    "gate": {"apiKeys": {"secret": "callers"}},
    "pod": {
        "env": variables("TEAM_KEY", secret(3), "OTHER", secret(4)),
        "annotations": {"example.com/vault": secret(5)},
    },
}


def named(kind: str, name: str, api_version: str = "v1", **fields: Any) -> Object:
    """Return an object without a namespace."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def run(cluster: Cluster, *arguments: str, kubeconfig: Path | None = None) -> Result:
    """Run a command as the administrator, or with another kubeconfig."""
    path = kubeconfig or cluster.layout.kubeconfig
    return CliRunner().invoke(msd, (*arguments, "--kubeconfig", str(path)))


def operator_deployment() -> Object:
    """Return a Deployment with the labels of the chart's, whose pod does nothing."""
    labels = {names.LABEL_NAME: OPERATOR, "app.kubernetes.io/version": program_version()}
    container = {"name": "operator", "image": "operator", "args": ["run"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": OPERATOR, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {names.LABEL_NAME: OPERATOR}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def lease(renewed: str) -> Object:
    """Return the Lease of a leader that renewed it at a time."""
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 300, "renewTime": renewed}
    return named("Lease", names.LEASE, "coordination.k8s.io/v1", spec=spec)


def report(namespace: Namespace) -> None:
    """Write the status of an endpoint that works, as the operator does."""
    condition = {"lastTransitionTime": now_text()[:19] + "Z", "reason": "Ready", "message": ""}
    conditions = [
        {**condition, "type": "Ready", "status": "True"},
        {**condition, "type": "Degraded", "status": "False"},
    ]
    status = {"status": {"observedGeneration": 1, "conditions": conditions}}
    namespace.kubectl(
        *("patch", "msd", "small", "--subresource=status", "--type=merge"),
        *("--patch", json.dumps(status)),
    )


@pytest.fixture(scope="module")
def installed(own_cluster: Cluster) -> Namespace:
    """Return the namespace of what looks like an operator, on nodes with labels."""
    for node in NODES:
        own_cluster.kubectl(
            *("label", "node", node, "nvidia.com/gpu.memory=143771"),
            "nvidia.com/cuda.driver-version.major=580",
        )
    own_cluster.kubectl("create", "namespace", SYSTEM)
    namespace = Namespace(own_cluster, SYSTEM)
    namespace.apply(operator_deployment(), lease(now_text()))
    namespace.apply(
        named("StorageClass", "fast", "storage.k8s.io/v1", provisioner="example.com/none")
    )
    namespace.kubectl("wait", "--for=condition=Available", f"deployment/{OPERATOR}")
    return namespace


@pytest.fixture
def endpoint(installed: Namespace, unserved: Namespace) -> Namespace:
    """Return a namespace with an endpoint that works."""
    assert installed.name == SYSTEM
    unserved.apply(
        resource("small", SPEC),
        named("Secret", "callers", stringData={"api-keys": secret(6), "token": secret(7)}),
        named("ConfigMap", "prompt", data={"prompt": secret(8)}),
    )
    report(unserved)
    return unserved


def test_doctor_says_nothing_of_a_healthy_cluster(endpoint: Namespace) -> None:
    result = run(endpoint.cluster, "doctor", "-n", endpoint.name)

    assert (result.exit_code, result.output) == (0, "no problems found\n")


def mistakes(namespace: str) -> list[Object]:
    """Return objects that keep the endpoint of a namespace from working."""
    service = {"namespace": namespace, "name": "missing"}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    webhook = {
        "name": "missing.example.com",
        "clientConfig": {"service": service},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: namespace}},
    }
    return [
        resource("small", {**SPEC, "networkPolicy": False, "cache": {"storageClassName": "no"}}),
        named("ResourceQuota", "gpus", spec={"hard": {f"requests.{GPU}": "1"}}),
        named(
            "LimitRange", "limits", spec={"limits": [{"type": "Container", "max": {"cpu": "1"}}]}
        ),
        named(
            "NetworkPolicy",
            "deny-all",
            "networking.k8s.io/v1",
            spec={"podSelector": {}, "policyTypes": ["Ingress"]},
        ),
        named(
            "ValidatingWebhookConfiguration",
            f"missing-{namespace}",
            "admissionregistration.k8s.io/v1",
            webhooks=[webhook],
        ),
    ]


def test_doctor_finds_ten_planted_mistakes(installed: Namespace, endpoint: Namespace) -> None:
    cluster, name = endpoint.cluster, endpoint.name
    endpoint.apply(*mistakes(name))
    endpoint.kubectl("delete", "secret", "callers")
    cluster.kubectl("label", "node", "fake-0", "nvidia.com/gpu.memory-")
    cluster.kubectl(
        "label", "node", "fake-1", "--overwrite", "nvidia.com/cuda.driver-version.major=570"
    )
    installed.apply(lease("2026-03-01T11:00:00.000000Z"))
    installed.kubectl(
        "label", "deployment", OPERATOR, "--overwrite", "app.kubernetes.io/version=0.0.1"
    )

    result = run(cluster, "doctor", "-n", name)

    subjects = [
        "Node fake-0: offers nvidia.com/gpu without the label",
        "Node fake-1: has NVIDIA driver 570",
        f"Lease {SYSTEM}/{names.LEASE}: no replica of the operator leads",
        f"Deployment {SYSTEM}/{OPERATOR}: the operator has version 0.0.1",
        f"{names.KIND} {name}/small: StorageClass no of spec.cache does not exist",
        f"Secret {name}/callers: does not exist",
        f"ResourceQuota {name}/gpus: allows requests.{GPU} 1",
        f"LimitRange {name}/limits: allows cpu 1 for a container",
        f"NetworkPolicy {name}/deny-all: closes the pods",
        f"ValidatingWebhookConfiguration missing-{name}: admits pods only if Service",
    ]
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert [one for one in subjects if not any(line.startswith(one) for line in lines)] == []
    assert [line for line in lines if not line.startswith(tuple(subjects))] == []


PLANTED = (HUB_TOKEN, JWT, *(secret(number) for number in range(3, 23)))
"""Secrets in every part of the endpoint and of the installation."""


def parts_with_secrets(namespace: Namespace) -> list[Object]:
    """Return further objects of an endpoint, each with a secret."""
    owned = {"labels": names.labels("small"), "annotations": {"a.example/b": secret(9)}}
    container = {"name": "server", "image": "server", "env": variables("TEAM_KEY", secret(3))}
    pod = named(
        "Pod", "small-1", spec={"containers": [container], "nodeSelector": {"no-node": "has-it"}}
    )
    service = named("Service", "small", spec={"ports": [{"port": 80}]})
    prompt = named("ConfigMap", "owned", data={"prompt": secret(10), "other": secret(11)})
    for one in (pod, service, prompt):
        one["metadata"] |= owned
    service["metadata"] = {**service["metadata"], "annotations": {"a.example/b": secret(12)}}
    keys = {"api-keys": secret(13), "token": secret(14), "password": secret(15)}
    uid = (namespace.get("msd", "small") or {})["metadata"]["uid"]
    event = named(
        "Event",
        "failed",
        involvedObject={"namespace": namespace.name, "uid": uid},
        reason="FetchFailed",
        message=f"token={secret(16)} of {HUB_TOKEN} is wrong: https://me:{secret(17)}@hub",
        type="Warning",
    )
    return [pod, service, prompt, named("Secret", "hub", stringData=keys), event]


def plant(installed: Namespace, endpoint: Namespace) -> None:
    """Plant a secret wherever one can be."""
    endpoint.apply(*parts_with_secrets(endpoint))
    endpoint.kubectl("annotate", "msd", "small", f"a.example/b={secret(18)}")
    terminated = {"exitCode": 1, "message": f"api-key: {secret(19)}", "reason": "Error"}
    container = {
        "name": "server",
        "image": "server",
        "imageID": "",
        "ready": False,
        "restartCount": 1,
        "lastState": {"terminated": terminated},
    }
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "FetchFailed",
        "message": f"password={secret(20)} and {JWT}",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }
    for kind, name, status in (
        ("pod", "small-1", {"containerStatuses": [container]}),
        ("msd", "small", {"conditions": [condition]}),
    ):
        endpoint.kubectl(
            *("patch", kind, name, "--subresource=status", "--type=merge"),
            *("--patch", json.dumps({"status": status})),
        )
    installed.kubectl("set", "env", f"deployment/{OPERATOR}", f"PROXY_KEY={secret(21)}")
    installed.kubectl("annotate", f"deployment/{OPERATOR}", f"a.example/b={secret(22)}")


def test_an_archive_has_none_of_twenty_secrets(
    installed: Namespace, endpoint: Namespace, tmp_path: Path
) -> None:
    plant(installed, endpoint)
    path = tmp_path / "small.tar.gz"

    result = run(endpoint.cluster, "support", "small", "-n", endpoint.name, "-o", str(path))

    assert result.exit_code == 0, result.output
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    assert {
        "support-small/pods/small-1.yaml",
        "support-small/resource.yaml",
        "support-small/events.yaml",
        "support-small/children/Service-small.yaml",
        f"support-small/operator/{OPERATOR}.yaml",
    } <= texts.keys()
    assert "FetchFailed" in texts["support-small/events.yaml"]
    assert len(PLANTED) > 20
    assert [(name, one) for name, text in texts.items() for one in PLANTED if one in text] == []


def kubeconfig_of_reader(endpoint: Namespace, tmp_path: Path) -> Path:
    """Return the kubeconfig of a new user without any right."""
    endpoint.kubectl("create", "serviceaccount", "reader")
    config = yaml.safe_load(endpoint.cluster.layout.kubeconfig.read_text())
    config["users"] = [
        {
            "name": config["users"][0]["name"],
            "user": {"token": endpoint.kubectl("create", "token", "reader").strip()},
        }
    ]
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_user_without_rights_is_told_so(endpoint: Namespace, tmp_path: Path) -> None:
    path = kubeconfig_of_reader(endpoint, tmp_path)

    status = run(endpoint.cluster, "status", "small", "-n", endpoint.name, kubeconfig=path)
    doctor = run(endpoint.cluster, "doctor", "-n", endpoint.name, kubeconfig=path)

    assert status.exit_code == 1
    assert "cannot get mistralsmalldeployments" in status.output
    assert doctor.exit_code == 1
    assert f"the endpoints of namespace {endpoint.name} could not be read" in doctor.stdout
    assert "not checked: cannot list nodes: ask an administrator to allow it" in doctor.stderr


def child_deployment() -> Object:
    """Return the Deployment of the endpoint, as far as a restart reads and changes it."""
    labels = names.labels("small")
    pod = {
        "metadata": {"labels": labels, "annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "server", "image": "server"}]},
    }
    spec = {"selector": {"matchLabels": names.selector("small")}, "template": pod}
    return named("Deployment", "small", "apps/v1", spec=spec)


def test_a_user_who_may_only_read_changes_nothing(endpoint: Namespace, tmp_path: Path) -> None:
    path = kubeconfig_of_reader(endpoint, tmp_path)
    deployment = child_deployment()
    deployment["metadata"]["labels"] = names.labels("small")
    endpoint.apply(deployment)
    resources = f"{names.PLURAL}.{names.GROUP},deployments.apps"
    endpoint.kubectl("create", "role", "r", "--verb=get", f"--resource={resources}")
    subject = f"--serviceaccount={endpoint.name}:reader"
    endpoint.kubectl("create", "rolebinding", "r", "--role=r", subject)

    for command, kind in (
        ("restart", "deployments.apps"),
        ("suspend", f"{names.PLURAL}.{names.GROUP}"),
    ):
        result = run(endpoint.cluster, command, "small", "-n", endpoint.name, kubeconfig=path)
        where = f"in namespace {endpoint.name}: ask an administrator to allow it"
        assert (result.exit_code, result.stderr) == (1, f"Error: cannot patch {kind} {where}\n")
    for command in ("top", "logs"):
        result = run(endpoint.cluster, command, "small", "-n", endpoint.name, kubeconfig=path)
        assert result.exit_code == 1, result.output
        assert f"cannot list pods in namespace {endpoint.name}" in result.stderr


def test_the_status_and_a_change_of_an_endpoint(endpoint: Namespace) -> None:
    cluster, access = endpoint.cluster, ("small", "-n", endpoint.name)

    text = run(cluster, "status", *access)
    document = json.loads(run(cluster, "status", *access, "-o", "json").stdout)
    suspended = run(cluster, "suspend", *access)
    fit = run(cluster, "fit", "-o", "table")

    assert text.output.startswith(f"Endpoint {endpoint.name}/small\n  Ready          True, Ready")
    assert document["status"]["conditions"][0]["reason"] == "Ready"
    assert suspended.exit_code == 0, suspended.output
    assert (endpoint.get("msd", "small") or {})["spec"]["suspend"] is True
    assert fit.exit_code == 0, fit.output
