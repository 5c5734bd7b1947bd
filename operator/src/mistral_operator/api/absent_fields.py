"""What to write instead of fields that Kubernetes has, and a resource does not have."""

_NO_HOST = "pods have no access to namespaces of the node: remove it"
_FIXED = "the operator sets it as the Pod Security Standard restricted requires: remove it"
_NO_TEMPLATE = (
    "there is no pod template, and containers cannot be set: have an injector add sidecars, with"
    " spec.pod.labels or spec.pod.annotations"
)
_OF_THE_NODE = (
    "volumes of the node are refused: use persistentVolumeClaim, configMap, secret, emptyDir or"
    " projected"
)
_BY_CLAIM = (
    "volumes are persistentVolumeClaim, configMap, secret, emptyDir or projected: make a"
    " PersistentVolume of this type and a claim, and use persistentVolumeClaim"
)
_ONE_BY_ONE = (
    "pods are replaced one at a time: set spec.rollout.maxSurge to 1 to start the new pod before"
    " the old one stops, or remove it"
)
_NO_MODE = "files have the mode 0644: remove it"

_ADVICE: dict[str, dict[str, str]] = {
    "spec": {"strategy": _ONE_BY_ONE},
    "spec.pod": {
        "envFrom": "list each variable in spec.pod.env, with valueFrom for a key of a ConfigMap or"
        " Secret: only the pod knows which names envFrom brings",
        **dict.fromkeys(("containers", "initContainers", "sidecars", "template"), _NO_TEMPLATE),
        **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC"), _NO_HOST),
        "dnsPolicy": "the policy is ClusterFirst: add name servers and search domains with"
        " spec.pod.dnsConfig",
    },
    "spec.pod.volumes": {
        "hostPath": _OF_THE_NODE,
        "local": _OF_THE_NODE,
        **dict.fromkeys(
            ("nfs", "cephfs", "iscsi", "fc", "azureFile", "glusterfs", "flexVolume"), _BY_CLAIM
        ),
        "ephemeral": "volumes are persistentVolumeClaim, configMap, secret, emptyDir or projected:"
        " make the claim yourself, and use persistentVolumeClaim",
        "csi": "inline volumes of a CSI driver are refused: make a claim of a StorageClass of the"
        " driver, or have it write a Secret",
        "downwardAPI": "set spec.pod.env with valueFrom.fieldRef instead",
        "image": "for a model in an image, set spec.model.source.image",
    },
    "spec.pod.volumes.projected.sources": {
        "serviceAccountToken": "pods have no token: they do not use the API server",
        "downwardAPI": "set spec.pod.env with valueFrom.fieldRef instead",
    },
    **{f"spec.pod.volumes.{one}": {"defaultMode": _NO_MODE} for one in ("configMap", "projected")},
    "spec.pod.volumes.secret": {"name": "write secretName", "defaultMode": _NO_MODE},
    "spec.pod.volumeMounts": dict.fromkeys(
        ("subPath", "subPathExpr"),
        "mount the whole volume: items of a ConfigMap or Secret choose the files",
    ),
    "spec.pod.topologySpread": dict.fromkeys(
        ("labelSelector", "matchLabelKeys"), "it always counts the pods of the endpoint: remove it"
    ),
    **{
        f"spec.pod.affinity.{part}.{when}": {
            "namespaceSelector": "it is about pods of the namespace of the resource: remove it",
            "namespaces": "it is about pods of the namespace of the resource: remove it",
        }
        for part in ("podAffinity", "podAntiAffinity")
        for when in (
            "requiredDuringSchedulingIgnoredDuringExecution",
            "preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm",
        )
    },
    "spec.rollout": {
        "maxWait": "write maxWaitSeconds",
        **dict.fromkeys(("maxUnavailable", "strategy", "type", "rollingUpdate"), _ONE_BY_ONE),
    },
    "spec.engine.speculation": {
        **dict.fromkeys(("numSpeculativeTokens", "num_speculative_tokens"), "write tokens"),
        **dict.fromkeys(("promptLookupMin", "prompt_lookup_min"), "write lookupMin"),
        **dict.fromkeys(("promptLookupMax", "prompt_lookup_max"), "write lookupMax"),
        "model": "n-grams need no second model: remove it",
    },
    "spec.cache": {
        "reclaimPolicy": "set spec.cache.whenDeleted: Retain to keep the claim",
        "whenScaled": "the claim stays when the endpoint is scaled: remove it",
    },
    "spec.autoscaling": {"min": "write minReplicas", "max": "write maxReplicas"},
    "spec.network": {
        "egress": "list what the pods may connect to in spec.network.destinations",
        "ingress": "list who may call the API in spec.network.callers",
    },
    "spec.network.destinations": {"ports": "every port of a destination is open: remove it"},
    "spec.network.callers": {"ports": "callers reach the port of the API only: remove it"},
    "spec.service": dict.fromkeys(("port", "ports"), "the port is 8000: remove it"),
    "spec.pod.securityContext": dict.fromkeys(
        (
            *("runAsNonRoot", "seccompProfile", "fsGroupChangePolicy", "privileged"),
            *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"),
        ),
        _FIXED,
    ),
}

_REMEDIES: dict[tuple[str, str, str], str] = {
    ("string_too_short", "cache", "storageClassName"): "write the name of a class; for a"
    " PersistentVolume without one, give it any storageClassName, such as static, and write that:"
    " the class need not exist",
    ("model_type", "engine", "kvOffload"): "must be an object, such as `{size: 16Gi}`",
    ("missing", "kvOffload", "size"): "set size, such as 16Gi",
    ("model_type", "engine", "speculation"): "must be an object: write {} for its defaults",
    ("missing", "emptyDir", "sizeLimit"): "set sizeLimit, such as 1Gi",
    ("missing", "secret", "items"): "list the keys to mount, such as `{key: ca.crt, path: ca.crt}`:"
    " the rest of the Secret does not reach the pod",
    (
        "greater_than_equal",
        "securityContext",
        "runAsUser",
    ): "the user 0 is refused: write the number"
    " of another user, or `securityContext: {}` to let the platform choose",
    **{
        (
            "greater_than_equal",
            "securityContext",
            one,
        ): "the group 0 is refused: write the number of"
        " another group, or `securityContext: {}` to let the platform choose"
        for one in ("runAsGroup", "fsGroup")
    },
}


_SELECTORS = ("namespaceSelector", "podSelector", "labelSelector")


def advice(parent: str, key: str) -> str:
    """Return what to do about an unknown field, or an empty string.

    Args:
        parent: path of the object that has the key, without list indexes.
        key: the unknown key.
    """
    if key == "matchExpressions" and parent.endswith(_SELECTORS):
        return "selectors have only matchLabels"
    return _ADVICE.get(parent, {}).get(key, "")


def remedy(kind: str, location: tuple[int | str, ...]) -> str:
    """Return what to write for an invalid field, or an empty string.

    Args:
        kind: pydantic's name of the error.
        location: path of the field.
    """
    parent, field = location[-2:] if len(location) > 1 else ("", "")
    return _REMEDIES.get((kind, str(parent), str(field)), "")
