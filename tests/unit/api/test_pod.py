"""What a resource cannot add to its pods."""

import pytest

from customized_pods import BUNDLE, MOUNT, PROXY, Object
from mistral_operator.api import parse_spec
from mistral_operator.kube.errors import InvalidResource


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
