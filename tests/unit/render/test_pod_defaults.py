"""What an installation adds to the pods of all endpoints, and what a resource overrides."""

from typing import Any

import pytest

from customized_pods import BUNDLE, MOUNT, PROXY, Object, containers, template
from mistral_operator.api.pod import PodDefaults

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
