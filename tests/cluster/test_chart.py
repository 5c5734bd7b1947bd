"""The chart in a real API server: installed by helm, admitted as it is, with exactly its rights."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from chart_rendering import (
    CHART,
    NAMESPACE,
    RELEASE,
    Object,
    helm,
    of_kind,
    operator_pod,
    render_all,
)
from cluster_namespace import Namespace, resource, until_served
from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until
from mistral_dev.errors import CommandFailedError
from mistral_dev.resource_definitions import stand_in, until_established
from mistral_dev.settings import Profile
from mistral_operator.kube import kinds, names
from operator_process import OperatorProcess, running_operator
from operator_rights import (
    FORBIDDEN,
    IN_THE_CLUSTER,
    IN_WATCHED_NAMESPACES,
    ON_THE_LEASE,
    ON_THE_MAPS,
    ON_THE_POLICIES,
    Right,
)
from service_account_rights import Attempt, allowed

OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
CRD = f"{names.PLURAL}.{names.GROUP}"


@dataclass
class Release:
    """An installed chart."""

    cluster: Cluster
    output: str

    def helm(self, *arguments: str) -> str:
        """Run helm against the cluster."""
        return helm("--kubeconfig", str(self.cluster.kubeconfig), *arguments)


def restricted(name: str) -> Object:
    """Return a namespace that lets in only what the restricted Pod Security Standard allows."""
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": level}}


def apply(cluster: Cluster, objects: list[Object], *options: str) -> None:
    """Server-side apply objects."""
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", *options, "-f", "-", text=document)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster that has never seen our CRD: the shared one has it, and an operator."""
    name = f"chart-{os.getpid()}"
    directory = tmp_path_factory.mktemp("cluster") / name
    with Cluster(name, Profile.CONTROL_PLANE, state_dir=directory, audit=True) as made:
        made.add_fake_nodes(1)
        monitors = [stand_in("PodMonitor"), stand_in("ServiceMonitor")]
        scaled_object = stand_in("ScaledObject", "keda.sh", "v1alpha1")
        apply(made, [*monitors, scaled_object, restricted(NAMESPACE)])
        until_established(made)
        until_served(made, "podmonitors", "servicemonitors", "scaledobjects")
        yield made


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    """Return the chart, installed as its README says, with everything that can be switched on."""
    made = Release(cluster, "")
    made.output = made.helm(
        *("install", RELEASE, str(CHART), "--namespace", NAMESPACE),
        *("--set", "replicas=2,admission.operator.enabled=true,metrics.podMonitor.enabled=true"),
        *("--wait", "--timeout", "60s"),
    )
    yield made
    made.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    # Deleting the CRD would delete every endpoint.
    cluster.kubectl("get", "crd", CRD)


def test_the_operators_pods_are_admitted_where_only_restricted_pods_are(release: Release) -> None:
    # helm --wait has seen the Deployment available: its pods were admitted.
    deployment = json.loads(
        release.cluster.kubectl("--namespace", NAMESPACE, "get", "deployment", RELEASE, "-o=json")
    )

    assert deployment["status"]["availableReplicas"] == 2


def test_a_pod_with_looser_rights_is_refused_there(release: Release) -> None:
    loose = operator_pod({"securityContext": {"allowPrivilegeEscalation": True}})
    metadata = {**loose["metadata"], "name": "loose", "namespace": NAMESPACE}
    pod = {"apiVersion": "v1", "kind": "Pod", **loose, "metadata": metadata}

    with pytest.raises(CommandFailedError, match="allowPrivilegeEscalation"):
        release.cluster.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(pod))


def test_every_switch_renders_what_the_api_server_takes(release: Release) -> None:
    values = {
        "fullnameOverride": "other",
        "crds": {"enabled": False},
        "watchNamespaces": ["default"],
        "leaderElection": {"enabled": False},
        "metrics": {"serviceMonitor": {"enabled": True}},
        "networkPolicy": {"from": [{"namespaceSelector": {}}]},
        "admission": {
            "resources": {
                "enabled": True,
                "maxGpus": 16,
                "requireNetworkPolicy": True,
                "allowedDestinations": [],
            },
            "operator": {"enabled": True},
        },
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "imagePullSecrets": [{"name": "pull"}],
    }
    apply(release.cluster, render_all(values), "--dry-run=server")


def test_what_helm_says_next_works(release: Release) -> None:
    indented = release.output.partition("<<'EOF'\n")[2].partition("EOF")[0]
    example = yaml.safe_load(indented)

    assert example["kind"] == names.KIND
    assert f"runs in the namespace {NAMESPACE} and watches all namespaces" in release.output
    release.cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=json.dumps(example))


ALLOWED = (
    *(Attempt(*right, namespace="default") for right in IN_WATCHED_NAMESPACES),
    *(Attempt(*right) for right in IN_WATCHED_NAMESPACES),
    *(Attempt(*right) for right in IN_THE_CLUSTER),
    *(Attempt(*right, namespace=NAMESPACE, name=names.LEASE) for right in ON_THE_LEASE),
    *(
        Attempt(*right, namespace=NAMESPACE, name=name)
        for right in ON_THE_MAPS
        for name in (names.PORT_MAP, names.KEY_MAP)
    ),
    *(
        Attempt(*right, namespace=NAMESPACE, name=names.activator_policy(first))
        for right in ON_THE_POLICIES
        for first in (20_000, 21_950)
    ),
)


def test_the_operator_may_do_what_it_must_and_nothing_that_it_must_not(release: Release) -> None:
    may = allowed(release.cluster, OPERATOR, [*ALLOWED, *FORBIDDEN])

    assert may == set(ALLOWED)


def test_an_operator_of_some_namespaces_has_no_rights_in_others(release: Release) -> None:
    cluster = release.cluster
    apply(cluster, [restricted("narrow"), restricted("team-a")])
    own = ("--set", "replicas=0,crds.enabled=false,rbac.aggregateToUserRoles=false")
    watched = ("--set", "watchNamespaces={team-a}")
    release.helm("install", "narrow", str(CHART), "--namespace", "narrow", *own, *watched)
    user = "system:serviceaccount:narrow:narrow-mistral-small-operator"
    there, elsewhere = (
        [Attempt(*right, namespace=namespace) for right in IN_WATCHED_NAMESPACES]
        for namespace in ("team-a", "narrow")
    )
    everywhere = [Attempt(*right) for right in IN_WATCHED_NAMESPACES]
    nodes = [Attempt(*right) for right in IN_THE_CLUSTER]

    may = allowed(cluster, user, [*there, *elsewhere, *everywhere, *nodes])

    # The activators' Service is in the operator's own namespace.
    slices = kinds.ENDPOINT_SLICE
    lookup = Attempt(slices.group, slices.plural, "list", namespace="narrow")
    assert may == {*there, *nodes, lookup}
    release.helm("uninstall", "narrow", "--namespace", "narrow", "--wait")


READ = {Attempt(names.GROUP, names.PLURAL, verb, "default") for verb in ("get", "list", "watch")}
WRITE = {
    *(Attempt(names.GROUP, names.PLURAL, verb, "default") for verb in ("create", "patch")),
    *(Attempt(names.GROUP, names.PLURAL, verb, "default") for verb in ("update", "delete")),
    Attempt(names.GROUP, f"{names.PLURAL}/scale", "patch", "default"),
}
NEVER = {Attempt(names.GROUP, f"{names.PLURAL}/status", "patch", "default")}
ROLES = {"view": READ, "edit": READ | WRITE, "admin": READ | WRITE}


@pytest.mark.parametrize(("role", "may"), ROLES.items(), ids=ROLES)
def test_users_may_do_with_the_resource_what_their_role_says(
    release: Release, role: str, may: set[Attempt]
) -> None:
    cluster, user = release.cluster, f"someone-who-may-{role}"
    bind = ("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
    cluster.kubectl("--namespace", "default", *bind)
    attempts = list(READ | WRITE | NEVER)

    # A controller of Kubernetes merges the roles, a moment after they were made.
    wait_until(lambda: allowed(cluster, user, attempts) == may, f"{role} to be merged", 10)
    assert allowed(cluster, "nobody-in-particular", attempts) == set()


@pytest.fixture
def own_operator(release: Release, tmp_path: Path, log: Path) -> Iterator[OperatorProcess]:
    """Return an operator that has the rights of the chart's ServiceAccount and no others."""
    cluster = release.cluster
    token = cluster.kubectl("--namespace", NAMESPACE, "create", "token", RELEASE).strip()
    view = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    view["users"] = [{"name": view["users"][0]["name"], "user": {"token": token}}]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(view))
    # An OperatorProcess asks its cluster for nothing but the kubeconfig.
    seen = cast("Cluster", SimpleNamespace(kubeconfig=kubeconfig))
    settings = {"NAMESPACE": NAMESPACE, "ACTIVATOR_SERVICE": f"{RELEASE}-activator"}
    with running_operator(seen, log, LEADER_ELECTION="true", **settings) as operator:
        yield operator


def requests_of(cluster: Cluster, user: str) -> list[dict[str, Any]]:
    """Return the requests of a user, discovery left out."""
    return [
        event
        for event in cluster.audit_events()
        if event["user"]["username"] == user and "objectRef" in event
    ]


def right_of(event: dict[str, Any]) -> Right:
    """Return the right that a request needed."""
    target = event["objectRef"]
    path = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
    return target.get("apiGroup", ""), path, event["verb"]


UNUSED_HERE = {
    # Needed by admission plugins or within a patch: no request of its own.
    *(right for right in IN_WATCHED_NAMESPACES if right[1].endswith("/finalizers")),
    *(right for right in IN_WATCHED_NAMESPACES if right[2] == "create" and right[1] != "events"),
    *(right for right in ON_THE_MAPS if right[2] == "create"),
    # When a new operator renders one child less, or a foreign object bears a child's name.
    *(
        (kind.group, kind.plural, verb)
        for kind in (*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS)
        for verb in ("get", "delete")
    ),
    # What exists only while an edit waits, and changes only if its nodes do meanwhile.
    *((kind.group, kind.plural, "patch") for kind in (kinds.DAEMON_SET, kinds.JOB)),
}

KEDA = {"driver": "KEDA", "minReplicas": 0, "maxReplicas": 2}
PROMPT = {"source": "ConfigMap", "configMap": {"name": "missing"}}


def test_a_running_operator_needs_every_right_and_misses_none(
    own_operator: OperatorProcess, release: Release, namespace: Namespace
) -> None:
    namespace.apply(resource("first", {"cache": {}, "systemPrompt": PROMPT, "autoscaling": KEDA}))
    namespace.wait_for_reason("first", "ConfigMapMissing")
    second = {"cache": {"storageClassName": "missing"}}
    namespace.apply(resource("second", second))
    namespace.wait_for_reason("second", "ClaimPending")
    for suspend, reason in ((True, "Suspended"), (False, "ClaimPending"), (True, "Suspended")):
        namespace.apply(resource("second", {**second, "suspend": suspend}))
        namespace.wait_for_reason("second", reason)
    namespace.kubectl("delete", "service", "first")
    namespace.wait_for("scaledobject", "first")
    namespace.apply(resource("first", {"networkPolicy": False, "systemPrompt": PROMPT}))
    namespace.until(lambda: namespace.get("networkpolicy", "first") is None, "a deletion")
    namespace.wait_for("service", "first")
    namespace.wait_for("podmonitor", "first")

    # A watch is logged when it ends.
    own_operator.stop()
    requests = requests_of(release.cluster, OPERATOR)
    used = {right_of(event) for event in requests}
    granted = {*IN_WATCHED_NAMESPACES, *IN_THE_CLUSTER, *ON_THE_LEASE, *ON_THE_MAPS}
    release.cluster.kubectl("--namespace", NAMESPACE, "get", "configmap", names.PORT_MAP)

    assert [event for event in requests if event["responseStatus"]["code"] == 403] == []
    assert "forbidden" not in own_operator.log.read_text().lower()
    assert used - granted == set()
    assert granted - used - UNUSED_HERE == set()


def deployed(release: Release) -> dict[str, str]:
    """Return the version of each object of the release and of each of its pods."""
    where = ("--namespace", NAMESPACE)
    listed = json.loads(
        release.cluster.kubectl(
            *(*where, "get", "-f", "-", "-o", "json"),
            text=release.helm("get", "manifest", RELEASE, *where),
        )
    )["items"]
    pods = json.loads(release.cluster.kubectl(*where, "get", "pods", "-o", "json"))["items"]
    return {
        f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in [*listed, *pods]
    }


def test_an_upgrade_without_a_change_writes_no_object_and_restarts_no_pod(release: Release) -> None:
    before = deployed(release)
    assert {key.partition(" ")[0] for key in before} >= {"Deployment", "Pod", "Role"}

    where = ("--namespace", NAMESPACE, "--reuse-values", "--wait")
    release.helm("upgrade", RELEASE, str(CHART), *where)

    assert deployed(release) == before


def test_the_chart_is_upgraded_and_rolled_back(release: Release) -> None:
    where = ("--namespace", NAMESPACE)
    release.helm("upgrade", RELEASE, str(CHART), *where, "--set", "concurrency=7", "--wait")
    release.helm("rollback", RELEASE, "1", *where, "--wait")
    deployed = [*yaml.safe_load_all(release.helm("get", "manifest", RELEASE, *where))]

    assert len(of_kind(deployed, "PodMonitor")) == 2
