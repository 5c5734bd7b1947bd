"""What is advised where a ResourceQuota or a LimitRange rejects a pod or a claim."""

import pytest

from mistral_operator.status.limits import advice

FORBIDDEN = 'pods "small-7d9f-x" is forbidden: '
REJECTIONS: dict[str, tuple[str, list[str]]] = {
    "a quota on pods": (
        "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0",
        ["ResourceQuota none has no room for pods: raise it, or lower spec.replicas"],
    ),
    "a quota on several resources": (
        (
            "exceeded quota: team, requested: limits.memory=64Gi,requests.cpu=4, used:"
            " limits.memory=0,requests.cpu=0, limited: limits.memory=8Gi,requests.cpu=2"
        ),
        [
            "ResourceQuota team has no room for limits.memory, requests.cpu: raise it",
            "or lower spec.pod.resources and spec.pod.fetchResources",
        ],
    ),
    "a quota on GPUs": (
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: a=0, limited: a=1",
        ["or lower spec.replicas or spec.engine.tensorParallelSize"],
    ),
    "a quota on disks of nodes": (
        "exceeded quota: disk, requested: requests.ephemeral-storage=50Gi, used: a=0, limited: a=1",
        ["or lower spec.pod.resources and"],
    ),
    "a quota on claims": (
        "exceeded quota: claims, requested: requests.storage=80Gi, used: a=0, limited: a=1",
        ["or lower spec.cache.size"],
    ),
    "a quota on objects of another kind": (
        "exceeded quota: few, requested: count/services=1, used: a=0, limited: a=0",
        ["ResourceQuota few has no room for count/services: raise it"],
    ),
    "a quota that requires limits": (
        "failed quota: q: must specify limits.cpu for: fetch,server; limits.memory for: fetch",
        [
            (
                "ResourceQuota q requires resources that a container does not have (limits.cpu for:"
                " fetch,server; limits.memory for: fetch)"
            ),
            "set them in spec.pod.resources and spec.pod.fetchResources, or in a LimitRange",
        ],
    ),
    "a maximum": (
        "maximum memory usage per Container is 1Gi, but limit is 64Gi",
        ["a LimitRange", "has a maximum of memory for each Container: change it, or lower memory"],
    ),
    "a minimum": (
        (
            "[minimum cpu usage per Pod is 8, but request is 4, maximum memory usage per Pod is"
            " 1Gi, but limit is 64Gi]"
        ),
        ["has a minimum of cpu for each Pod: change it, or raise cpu in spec.pod.resources"],
    ),
    "a maximum without a limit": (
        "maximum cpu usage per Container is 1, but no limit is specified",
        ["has a maximum of cpu for each Container: change it, or set cpu in spec.pod.resources"],
    ),
    "a maximum for claims": (
        "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 80Gi",
        ["for each PersistentVolumeClaim: change it, or lower storage in spec.cache.size"],
    ),
    "a ratio": (
        "memory max limit to request ratio per Container is 1, but provided ratio is 2.666667",
        ["bounds the ratio of limit and request of memory: change it, or set both"],
    ),
    "a default below the request of the server": (
        (
            'spec.containers[0].resources.requests: Invalid value: "4": must be less than or equal'
            " to cpu limit of 500m"
        ),
        ["sets a limit of cpu below the request: set spec.pod.resources.limits.cpu, or lower"],
    ),
    "a default below the request of the container that fetches": (
        (
            'spec.initContainers[0].resources.requests: Invalid value: "1Gi": must be less than'
            " or equal to memory limit of 512Mi"
        ),
        ["set spec.pod.fetchResources.limits.memory, or lower spec.pod.fetchResources.requests"],
    ),
}


@pytest.mark.parametrize(("message", "parts"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_is_explained_in_fields_of_the_resource(message: str, parts: list[str]) -> None:
    result = advice(FORBIDDEN + message)

    for part in parts:
        assert part in result


@pytest.mark.parametrize("message", ["", "violates PodSecurity", "exceeded quota", "quota: a"])
def test_nothing_is_advised_about_other_rejections(message: str) -> None:
    assert advice(message) == ""
