"""What a resource and its installation add to pods, and what stays as it is."""

from typing import Any

import pytest

from builders import CONTEXT, SERVER_IMAGE, resource
from mistral_operator.api import parse_spec
from mistral_operator.api.pod import PodDefaults
from mistral_operator.apply.diff import first_difference
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import RenderContext, children
from mistral_operator.render.allowed import check_allowed
from mistral_operator.render.pod_defaults import with_defaults

Object = dict[str, Any]

PROXY = {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}
BUNDLE = {"name": "ca", "configMap": {"name": "ca-bundle"}}
MOUNT = {"name": "ca", "mountPath": "/mnt/ca"}
BELIEVED = {"name": "SSL_CERT_FILE", "value": "/mnt/ca/ca.crt"}


def rendered(spec: Object, context: RenderContext = CONTEXT) -> dict[str, Object]:
    """Return the children by kind."""
    endpoint = with_defaults(resource(spec), context)
    return {one["kind"]: one for one in children(endpoint, context)}


def template(pod: Object, defaults: Object | None = None) -> Object:
    """Return the pod template of `spec.pod` in an installation."""
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(defaults or {}))
    result: Object = rendered({"pod": pod}, context)["Deployment"]["spec"]["template"]
    return result


def containers(pod: Object, defaults: Object | None = None) -> list[Object]:
    """Return both containers."""
    spec = template(pod, defaults)["spec"]
    return [*spec["initContainers"], *spec["containers"]]


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


@pytest.mark.parametrize("user", [0, -1, 2**31])
def test_no_user_is_root(user: int) -> None:
    with pytest.raises(InvalidResource, match=r"spec\.pod\.securityContext\.runAsUser"):
        parse_spec({"pod": {"securityContext": {"runAsUser": user}}})


WRONG_MOUNTS = (
    "/", "/etc", "/etc/ssl/certs", "/models", "/tmp/a", "/usr/lib/python3", "/mnt", "/mnt/../etc",
    "/mnt/a:b", "/mnt/./a", "mnt/a", "/dev/shm",
)  # fmt: skip


@pytest.mark.parametrize("path", WRONG_MOUNTS)
def test_a_mount_replaces_no_file_of_the_image(path: str) -> None:
    pod = {"volumes": [BUNDLE], "volumeMounts": [{"name": "ca", "mountPath": path}]}

    with pytest.raises(InvalidResource, match="write a value such as /mnt/ca-bundle"):
        parse_spec({"pod": pod})


LONG = {"a name": "a" * 64, "a name after a prefix": "x/" + "a" * 64, "a prefix": "a" * 254 + "/b"}
MAPS = ("labels", "annotations", "nodeSelector", "serviceAccountAnnotations")


@pytest.mark.parametrize("key", LONG.values(), ids=LONG)
@pytest.mark.parametrize("field", MAPS)
def test_a_key_is_one_that_objects_of_kubernetes_can_have(field: str, key: str) -> None:
    with pytest.raises(InvalidResource, match=r"at most (63|253) characters"):
        parse_spec({"pod": {field: {key: "x"}}})


@pytest.mark.parametrize("key", ["a" * 63, "a" * 253 + "/" + "b" * 63])
def test_the_longest_keys_are_accepted(key: str) -> None:
    parse_spec({"pod": {"labels": {key: "x"}, "tolerations": [{"key": key, "value": "a"}]}})
    parse_spec({"service": {"annotations": {key: "x"}}})


def test_a_secret_and_a_config_map_share_a_projected_volume() -> None:
    secret = {"name": "a", "items": [{"key": "k", "path": "f"}]}
    config_map = {"name": "a", "items": [{"key": "k", "path": "g"}]}
    sources = [{"secret": secret}, {"configMap": config_map}]

    parse_spec({"pod": {"volumes": [{"name": "p", "projected": {"sources": sources}}]}})
    sources[1] = {"configMap": secret}
    with pytest.raises(InvalidResource, match="have the same path"):
        parse_spec({"pod": {"volumes": [{"name": "p", "projected": {"sources": sources}}]}})


def test_a_volume_of_the_node_is_no_field() -> None:
    with pytest.raises(InvalidResource, match="set exactly one of persistentVolumeClaim"):
        parse_spec({"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}})


def test_a_secret_is_mounted_by_its_keys_only() -> None:
    with pytest.raises(InvalidResource, match=r"spec\.pod\.volumes\[0\]\.secret\.items"):
        parse_spec({"pod": {"volumes": [{"name": "a", "secret": {"secretName": "b"}}]}})


TWICE: dict[str, tuple[Object, str]] = {
    "a variable": ({"env": [PROXY, PROXY]}, "HTTPS_PROXY is set twice: remove one"),
    "a volume": ({"volumes": [BUNDLE, BUNDLE]}, "two volumes have ca: remove one"),
    "a mount": (
        {"volumes": [BUNDLE], "volumeMounts": [MOUNT, MOUNT]},
        "two mounts have /mnt/ca: remove one",
    ),
    "a pull secret": (
        {"imagePullSecrets": ["registry", "registry"]},
        "registry is named twice: remove one",
    ),
    "an alias": (
        {
            "hostAliases": [
                {"ip": "10.0.0.1", "hostnames": ["a.example.com"]},
                {"ip": "10.0.0.1", "hostnames": ["b.example.com"]},
            ]
        },
        "two hostAliases have 10.0.0.1: put all hostnames into one",
    ),
}


@pytest.mark.parametrize(("pod", "sentence"), TWICE.values(), ids=TWICE)
def test_nothing_is_there_twice(pod: Object, sentence: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_spec({"pod": pod})

    assert sentence in str(refused.value)


NOT_OTHERS = (
    "127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "100.100.100.200", "1.2",  # noqa: S104
    "fd00:ec2::254", "FD00:EC2::254", "fd00:ec2:0::254", "fd20:ce::254",
    # Connections to these go to the IPv4 address within them.
    "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:127.0.0.1", "::ffff:168.63.129.16",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
)  # fmt: skip


@pytest.mark.parametrize("address", NOT_OTHERS)
def test_an_alias_is_the_address_of_another_host(address: str) -> None:
    aliases = [{"ip": address, "hostnames": ["a.example.com"]}]

    with pytest.raises(InvalidResource, match=r"spec\.pod\.hostAliases\[0\]\.ip"):
        parse_spec({"pod": {"hostAliases": aliases}})


@pytest.mark.parametrize("address", ["10.0.0.1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
def test_an_alias_may_be_a_private_address(address: str) -> None:
    parse_spec({"pod": {"hostAliases": [{"ip": address, "hostnames": ["a.example.com"]}]}})


def test_pull_secrets_in_the_form_of_a_pod_are_refused_with_the_form_to_write() -> None:
    with pytest.raises(InvalidResource, match="write only the name of the Secret"):
        parse_spec({"pod": {"imagePullSecrets": [{"name": "registry"}]}})


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


NOT_ALLOWED: dict[str, tuple[Object, str]] = {
    "an account": (
        {"pod": {"serviceAccountName": "admin"}},
        "add it to the chart value allowedServiceAccounts",
    ),
    "a type": (
        {"service": {"type": "LoadBalancer"}},
        "add it to the chart value allowedServiceTypes",
    ),
    "authorities for a token": (
        {
            "pod": {"env": [BELIEVED]},
            "model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}},
        },
        "in the chart value endpoints.pod.env",
    ),
}


@pytest.mark.parametrize(("spec", "sentence"), NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_what_the_installation_has_to_allow(spec: Object, sentence: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(spec), CONTEXT)

    assert sentence in str(refused.value)


def test_what_the_installation_allows() -> None:
    context = RenderContext(
        "server:1",
        service_accounts=("admin",),
        service_types=("LoadBalancer",),
        variables=("TEAM",),
    )
    spec = {
        "pod": {"serviceAccountName": "admin", "env": [{"name": "TEAM", "value": "a"}]},
        "service": {"type": "LoadBalancer"},
    }

    check_allowed(parse_spec(spec), context)
    check_allowed(parse_spec({"pod": {"env": [BELIEVED]}}), context)


DEFAULTS: Object = {
    "env": [PROXY, {"name": "NO_PROXY", "value": ".svc"}],
    "volumes": [BUNDLE],
    "volumeMounts": [MOUNT],
    "imagePullSecrets": ["registry"],
    "nodeSelector": {"pool": "gpu", "zone": "a"},
    "labels": {"cost-center": "7"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "securityContext": {},
    "priorityClassName": "inference",
}


def test_the_defaults_of_the_installation_reach_every_pod() -> None:
    pod = template({}, DEFAULTS)
    spec = pod["spec"]

    assert [one["name"] for one in containers({}, DEFAULTS)[0]["env"]][:2] == [
        "HTTPS_PROXY",
        "NO_PROXY",
    ]
    assert spec["volumes"][-1] == BUNDLE
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == {"pool": "gpu", "zone": "a"}
    assert pod["metadata"]["labels"]["cost-center"] == "7"
    assert spec["tolerations"][-1] == {"key": "gpu", "operator": "Exists"}
    assert "runAsUser" not in spec["securityContext"]
    assert spec["priorityClassName"] == "inference"


@pytest.mark.parametrize("secret", ["registry", {"name": "registry"}])
def test_the_installation_names_pull_secrets_as_a_pod_or_a_resource_does(secret: Any) -> None:
    spec = template({}, {"imagePullSecrets": [secret]})["spec"]

    assert spec["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("secret", [{"name": "a", "key": "b"}, {"secret": "a"}, {"name": 1}, 1])
def test_what_names_no_pull_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ValueError, match="imagePullSecrets"):
        PodDefaults.model_validate({"imagePullSecrets": [secret]})


def test_a_resource_overrides_the_defaults_and_keeps_the_others() -> None:
    own: Object = {
        "env": [{"name": "NO_PROXY", "value": "*"}],
        "nodeSelector": {"zone": "b"},
        "imagePullSecrets": ["mine"],
        "securityContext": {"runAsUser": 5},
        "priorityClassName": "mine",
    }
    spec = template(own, DEFAULTS)["spec"]
    env = {one["name"]: one["value"] for one in spec["containers"][0]["env"][:2]}

    assert env == {"HTTPS_PROXY": "http://proxy.example.com:3128", "NO_PROXY": "*"}
    assert spec["nodeSelector"] == {"pool": "gpu", "zone": "b"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mine"}]
    assert spec["securityContext"]["runAsUser"] == 5
    assert spec["priorityClassName"] == "mine"


def test_aliases_of_one_address_have_the_names_of_both() -> None:
    defaults = {
        "hostAliases": [
            {"ip": "10.0.0.1", "hostnames": ["hub.example.com", "a.example.com"]},
            {"ip": "10.0.0.2", "hostnames": ["b.example.com"]},
        ]
    }
    own = {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["c.example.com", "a.example.com"]}]}

    assert template(own, defaults)["spec"]["hostAliases"] == [
        {"ip": "10.0.0.2", "hostnames": ["b.example.com"]},
        {"ip": "10.0.0.1", "hostnames": ["c.example.com", "a.example.com", "hub.example.com"]},
    ]


USERS_OF_BOTH: dict[str, tuple[Object, Object | None, Object]] = {
    "a group beside the platform's choice": (
        {},
        {"supplementalGroups": [5000]},
        {"supplementalGroups": [5000]},
    ),
    "a group beside users": (
        {"runAsUser": 5, "fsGroup": 6, "supplementalGroups": [7, 8]},
        {"supplementalGroups": [8, 9]},
        {"runAsUser": 5, "runAsGroup": 1000, "fsGroup": 6, "supplementalGroups": [7, 8, 9]},
    ),
    "another user": (
        {"runAsUser": 5, "fsGroup": 6},
        {"runAsUser": 7},
        {"runAsUser": 7, "runAsGroup": 1000, "fsGroup": 6},
    ),
    "the platform's choice": ({"runAsUser": 5}, {}, {}),
    "a group of the installation": (
        {"supplementalGroups": [5000]},
        None,
        {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "supplementalGroups": [5000]},
    ),
}


@pytest.mark.parametrize(("default", "own", "users"), USERS_OF_BOTH.values(), ids=USERS_OF_BOTH)
def test_users_are_merged_by_field(default: Object, own: Object | None, users: Object) -> None:
    context = template({"securityContext": own}, {"securityContext": default})["spec"][
        "securityContext"
    ]

    fixed = {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}
    assert {key: value for key, value in context.items() if key not in fixed} == users


def nodes(pool: str) -> Object:
    """Return the node affinity for a pool."""
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": [pool]}]}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def apart(from_: str) -> Object:
    """Return the pod affinity, or anti-affinity, to pods with a label."""
    term = {
        "labelSelector": {"matchLabels": {"app": from_}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


AFFINITIES: dict[str, tuple[Object, Object]] = {
    "another part": (
        {"podAntiAffinity": apart("a")},
        {"nodeAffinity": nodes("gpu"), "podAntiAffinity": apart("a")},
    ),
    "the same part": ({"nodeAffinity": nodes("mig")}, {"nodeAffinity": nodes("mig")}),
    "nothing": ({}, {"nodeAffinity": nodes("gpu")}),
}


@pytest.mark.parametrize(("own", "both"), AFFINITIES.values(), ids=AFFINITIES)
def test_affinities_are_merged_by_part(own: Object, both: Object) -> None:
    defaults = {"affinity": {"nodeAffinity": nodes("gpu")}}

    assert template({"affinity": own}, defaults)["spec"]["affinity"] == both
    assert template({}, defaults)["spec"]["affinity"] == defaults["affinity"]


def test_settings_of_the_resolver_are_merged() -> None:
    defaults = {
        "nameservers": ["10.0.0.1", "10.0.0.2"],
        "searches": ["corp.example.com", "example.com"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "rotate"}],
    }
    own: Object = {"searches": ["example.com", "team.example.com"]}
    own |= {"options": [{"name": "ndots", "value": "2"}]}

    merged = template({"dnsConfig": own}, {"dnsConfig": defaults})["spec"]["dnsConfig"]

    assert merged == {
        "nameservers": ["10.0.0.1", "10.0.0.2"],
        # The resolver takes the first that has the name.
        "searches": ["example.com", "team.example.com", "corp.example.com"],
        "options": [{"name": "rotate"}, {"name": "ndots", "value": "2"}],
    }


def test_name_servers_are_replaced_since_a_pod_has_three_at_most() -> None:
    defaults = {"nameservers": ["10.0.0.1", "10.0.0.2"]}
    own = {"nameservers": ["10.1.0.1", "10.1.0.2"]}

    assert template({"dnsConfig": own}, {"dnsConfig": defaults})["spec"]["dnsConfig"] == own


def test_no_defaults_change_nothing() -> None:
    assert template({}, {}) == template({})


def test_a_token_may_use_the_authorities_of_the_installation() -> None:
    context = RenderContext(
        "server:1",
        pods=PodDefaults.model_validate(
            {"env": [BELIEVED], "volumes": [BUNDLE], "volumeMounts": [MOUNT]}
        ),
    )
    spec = {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}}

    check_allowed(parse_spec(spec), context)
    names = [
        one["name"]
        for one in rendered(spec, context)["Deployment"]["spec"]["template"]["spec"][
            "initContainers"
        ][0]["env"]
    ]
    assert {"SSL_CERT_FILE", "HF_TOKEN"} <= {*names}


MINE: Object = {"name": "mine", "configMap": {"name": "mine"}}
REPLACED: dict[str, tuple[Object, str]] = {
    "a volume": (
        {"volumes": [{"name": "ca", "configMap": {"name": "mine"}}]},
        "spec.pod.volumes[0].name: ca is the name of a volume of this installation",
    ),
    **{
        path: (
            {"volumes": [MINE], "volumeMounts": [{"name": "mine", "mountPath": path}]},
            f"spec.pod.volumeMounts[0].mountPath: {path} would replace files of this installation",
        )
        for path in ("/mnt/ca", "/mnt/ca/ca.crt", "/mnt/ca/more", "/srv/image", "/srv/image/cas")
    },
}
TRUSTED: Object = {
    # The image may have the file: then no volume is mounted there.
    "env": [BELIEVED, {"name": "SSL_CERT_DIR", "value": "/srv/other:/srv/image/cas"}],
    "volumes": [BUNDLE],
    "volumeMounts": [MOUNT],
}


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize(("pod", "sentence"), REPLACED.values(), ids=REPLACED)
def test_a_resource_replaces_no_files_of_the_installation(
    pod: Object, sentence: str, token: bool
) -> None:
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(TRUSTED))
    hub: Object = {"hub": {"tokenSecret": {"name": "hub"}}}
    spec = {"pod": pod} | ({"model": {"source": hub}} if token else {})

    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(spec), context)

    assert sentence in str(refused.value)


@pytest.mark.parametrize("path", ["/mnt/ca2", "/mnt/c", "/srv/image/more", "/data/ca"])
def test_a_resource_mounts_its_files_beside_those_of_the_installation(path: str) -> None:
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(TRUSTED))
    pod = {"volumes": [MINE], "volumeMounts": [{"name": "mine", "mountPath": path}]}

    check_allowed(parse_spec({"pod": pod}), context)


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
