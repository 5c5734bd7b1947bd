"""What a resource adds to pods, and what stays as it is."""

from typing import Any

import pytest

from customized_pods import BELIEVED, BUNDLE, MOUNT, PROXY, Object, containers, rendered, template
from mistral_operator.apply.diff import first_difference


def test_both_containers_have_the_variables_before_their_settings() -> None:
    for container in containers({"env": [PROXY]}):
        names = [one["name"] for one in container["env"]]

        assert container["env"][0] == PROXY
        assert names[1].startswith("MISTRAL_")


def test_a_bundle_of_cas_is_mounted_into_both_containers() -> None:
    pod = {"volumes": [BUNDLE], "volumeMounts": [MOUNT], "env": [BELIEVED]}

    assert template(pod)["spec"]["volumes"][-1] == BUNDLE
    for container in containers(pod):
        assert container["volumeMounts"][-1] == {**MOUNT, "readOnly": True}


def test_labels_and_annotations_are_those_of_the_pods_and_not_of_the_selector() -> None:
    metadata = template(
        {
            "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        }
    )["metadata"]
    before = template({})["metadata"]

    assert metadata["labels"] == {**before["labels"], "kueue.x-k8s.io/queue-name": "gpus"}
    assert metadata["annotations"] == {
        **before["annotations"],
        "karpenter.sh/do-not-disrupt": "true",
    }


USERS: dict[str, tuple[Object, Object]] = {
    "nothing": ({}, {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}),
    "the platform's choice": ({"securityContext": {}}, {}),
    # kubectl drops it before the API server sees it.
    "null": ({"securityContext": None}, {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}),
    "a user": (
        {"securityContext": {"runAsUser": 4711}},
        {"runAsUser": 4711, "runAsGroup": 1000, "fsGroup": 1000},
    ),
    "groups": (
        {"securityContext": {"runAsGroup": 5, "fsGroup": 6, "supplementalGroups": [7]}},
        {"runAsUser": 1000, "runAsGroup": 5, "fsGroup": 6, "supplementalGroups": [7]},
    ),
    "the group of a shared file system": (
        {"securityContext": {"supplementalGroups": [5000]}},
        {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "supplementalGroups": [5000]},
    ),
}


@pytest.mark.parametrize(("pod", "users"), USERS.values(), ids=USERS)
def test_the_users_are_those_of_the_resource_and_the_rest_stays_restricted(
    pod: Object, users: Object
) -> None:
    context = template(pod)["spec"]["securityContext"]

    assert context == {
        "runAsNonRoot": True,
        **users,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


FETCH: dict[str, tuple[Object, Object, Object]] = {
    "nothing": ({}, {"cpu": "1", "memory": "1Gi"}, {"memory": "8Gi"}),
    "limits of the server": (
        {"resources": {"limits": {"cpu": "4", "memory": "64Gi"}}},
        {"cpu": "1", "memory": "1Gi"},
        {"cpu": "4", "memory": "8Gi"},
    ),
    "limits of its own": (
        {"fetchResources": {"limits": {"cpu": "500m", "memory": "512Mi"}}},
        {"cpu": "500m", "memory": "512Mi"},
        {"cpu": "500m", "memory": "512Mi"},
    ),
    "disk": (
        {
            "resources": {
                "requests": {"ephemeral-storage": "10Gi"},
                "limits": {"ephemeral-storage": "40Gi"},
            }
        },
        {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "10Gi"},
        {"ephemeral-storage": "40Gi", "memory": "8Gi"},
    ),
    "disk of the model": (
        {"resources": {"limits": {"ephemeral-storage": "100Gi"}}},
        {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "50Gi"},
        {"ephemeral-storage": "100Gi", "memory": "8Gi"},
    ),
    "a smaller limit of disk": (
        {
            "resources": {"requests": {"ephemeral-storage": "10Gi"}},
            "fetchResources": {"limits": {"ephemeral-storage": "5Gi"}},
        },
        # Kubernetes takes it for the request as well.
        {"cpu": "1", "memory": "1Gi"},
        {"ephemeral-storage": "5Gi", "memory": "8Gi"},
    ),
    "a request of disk": (
        {
            "resources": {"limits": {"ephemeral-storage": "100Gi"}},
            "fetchResources": {"requests": {"ephemeral-storage": "7Gi"}},
        },
        {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "7Gi"},
        {"ephemeral-storage": "100Gi", "memory": "8Gi"},
    ),
    "disk without a limit": (
        {"resources": {"requests": {"ephemeral-storage": "10Gi"}}},
        {"cpu": "1", "memory": "1Gi"},
        {"memory": "8Gi"},
    ),
    "a large request": (
        {"fetchResources": {"requests": {"memory": "16Gi"}}},
        {"cpu": "1", "memory": "16Gi"},
        {"memory": "16Gi"},
    ),
}


@pytest.mark.parametrize(("pod", "requests", "limits"), FETCH.values(), ids=FETCH)
def test_the_fetch_container_has_the_resources_of_its_field(
    pod: Object, requests: Object, limits: Object
) -> None:
    (fetch, _) = containers(pod)

    assert fetch["resources"] == {"requests": requests, "limits": limits}


def test_the_service_and_the_account_have_their_annotations() -> None:
    children_by_kind = rendered(
        {
            "service": {"annotations": {"a": "b"}, "type": "LoadBalancer"},
            "pod": {"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1"}},
        }
    )

    assert children_by_kind["Service"]["metadata"]["annotations"]["a"] == "b"
    assert children_by_kind["Service"]["spec"]["type"] == "LoadBalancer"
    annotations = children_by_kind["ServiceAccount"]["metadata"]["annotations"]
    assert annotations["eks.amazonaws.com/role-arn"] == "arn:aws:iam::1"


def test_what_the_api_server_drops_is_no_drift() -> None:
    pod: Object = {
        "env": [{"name": "A", "value": ""}],
        "volumes": [BUNDLE, {"name": "b", "persistentVolumeClaim": {"claimName": "files"}}],
        "volumeMounts": [{"name": "b", "mountPath": "/data/b", "readOnly": False}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {}, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    }
    desired = template(pod)

    assert first_difference(desired, dropped(desired)) is None


def dropped(value: Any) -> Any:
    """Return an object without what the API server does not store: false, no text, no items."""
    if isinstance(value, dict):
        kept = {"labelSelector", "automountServiceAccountToken", "enableServiceLinks"}
        kept |= {"allowPrivilegeEscalation"}
        return {
            key: dropped(one)
            for key, one in value.items()
            if key in kept or one not in (False, "", [])
        }
    return [dropped(one) for one in value] if isinstance(value, list) else value


def test_a_changed_field_of_the_pods_restarts_them() -> None:
    changes: list[Object] = [{"env": [PROXY]}, {"labels": {"a": "b"}}, {"securityContext": {}}]

    assert all(template(one) != template({}) for one in changes)
