"""A field that only pods have is refused with what to write instead."""

from typing import Any

import pytest

from refused_resources import refusal


def _volume(**source: Any) -> dict[str, Any]:
    return {"pod": {"volumes": [{"name": "a", **source}]}}


INSTEAD: dict[str, tuple[dict[str, Any], str]] = {
    "variables without names": (
        {"pod": {"envFrom": [{"configMapRef": {"name": "a"}}]}},
        "spec.pod.envFrom: unknown field: list each variable in spec.pod.env",
    ),
    "a sidecar": (
        {"pod": {"containers": []}},
        "spec.pod.containers: unknown field: there is no pod template",
    ),
    "a namespace of the node": (
        {"pod": {"hostNetwork": True}},
        "spec.pod.hostNetwork: unknown field: pods have no access to namespaces of the node",
    ),
    "a policy of the resolver": (
        {"pod": {"dnsPolicy": "None"}},
        "spec.pod.dnsPolicy: unknown field: the policy is ClusterFirst",
    ),
    "a volume of the node": (
        _volume(hostPath={"path": "/m"}),
        "spec.pod.volumes[0].hostPath: unknown field: volumes of the node are refused: use persist",
    ),
    "a share": (
        _volume(nfs={"server": "a", "path": "/m"}),
        "spec.pod.volumes[0].nfs: unknown field: volumes are persistentVolumeClaim, config",
    ),
    "a volume of a driver": (
        _volume(csi={"driver": "csi.cert-manager.io"}),
        "spec.pod.volumes[0].csi: unknown field: inline volumes of a CSI driver are refused",
    ),
    "a mode": (
        _volume(configMap={"name": "ca", "defaultMode": 292}),
        "spec.pod.volumes[0].configMap.defaultMode: unknown field: files have the mode 0644",
    ),
    "what is always set": (
        {"pod": {"securityContext": {"runAsNonRoot": True}}},
        "spec.pod.securityContext.runAsNonRoot: unknown field: the operator sets it",
    ),
    "an empty directory without size": (
        _volume(emptyDir={}),
        "spec.pod.volumes[0].emptyDir.sizeLimit: set sizeLimit, such as 1Gi",
    ),
    "a whole Secret": (
        _volume(secret={"secretName": "tls"}),
        "spec.pod.volumes[0].secret.items: list the keys to mount, such as",
    ),
    "root": (
        {"pod": {"securityContext": {"runAsUser": 0}}},
        "spec.pod.securityContext.runAsUser: the user 0 is refused: write the number of another",
    ),
    "expressions of a selector": (
        {"network": {"callers": [{"podSelector": {"matchExpressions": []}}]}},
        "spec.network.callers[0].podSelector.matchExpressions: unknown field: selectors have only",
    ),
    "ports of a destination": (
        {"network": {"destinations": [{"podSelector": {}, "ports": [{"port": 3128}]}]}},
        "spec.network.destinations[0].ports: unknown field: every port of a destination is open",
    ),
    "the name of a Secret": (
        _volume(secret={"name": "tls"}),
        "spec.pod.volumes[0].secret.name: unknown field: write secretName",
    ),
    "a part of a volume": (
        {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/a", "subPath": "b"}]}},
        "spec.pod.volumeMounts[0].subPath: unknown field: mount the whole volume",
    ),
    "the pods to spread": (
        {"pod": {"topologySpread": [{"topologyKey": "zone", "labelSelector": {}}]}},
        "spec.pod.topologySpread[0].labelSelector: unknown field: it always counts the pods of",
    ),
    "a policy for claims": (
        {"cache": {"reclaimPolicy": "Retain"}},
        "spec.cache.reclaimPolicy: unknown field: set spec.cache.whenDeleted: Retain",
    ),
    "bounds of other autoscalers": (
        {"autoscaling": {"min": 1}},
        "spec.autoscaling.min: unknown field: write minReplicas",
    ),
    "the strategy of a Deployment": (
        {"strategy": {"type": "Recreate"}},
        "spec.strategy: unknown field: pods are replaced one at a time: set spec.rollout.maxSurge",
    ),
    "a limit of a Deployment": (
        {"rollout": {"maxUnavailable": 0}},
        "spec.rollout.maxUnavailable: unknown field: pods are replaced one at a time",
    ),
    "vLLM's name of the proposed tokens": (
        {"engine": {"speculation": {"num_speculative_tokens": 4}}},
        "spec.engine.speculation.num_speculative_tokens: unknown field: write tokens",
    ),
    "a size where an object is meant": (
        {"engine": {"kvOffload": "16Gi"}},
        "spec.engine.kvOffload: must be an object, such as `{size: 16Gi}`",
    ),
    "an object without its size": (
        {"engine": {"kvOffload": {}}},
        "spec.engine.kvOffload.size: set size, such as 16Gi",
    ),
    "a truth value where an object is meant": (
        {"engine": {"speculation": True}},
        "spec.engine.speculation: must be an object: write {} for its defaults",
    ),
    "no class": (
        {"cache": {"storageClassName": ""}},
        "spec.cache.storageClassName: write the name of a class; for a PersistentVolume without",
    ),
    "the group of root": (
        {"pod": {"securityContext": {"fsGroup": 0}}},
        "spec.pod.securityContext.fsGroup: the group 0 is refused: write the number of another",
    ),
}


@pytest.mark.parametrize(("spec", "message"), INSTEAD.values(), ids=INSTEAD)
def test_what_a_pod_has_elsewhere_is_refused_with_what_to_write(
    spec: dict[str, Any], message: str
) -> None:
    assert refusal(spec).startswith(message)
