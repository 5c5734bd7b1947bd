"""The saved settings of a local cluster and the flags of its parts; nothing is started here."""

import json
import os
import socket
import tomllib
from pathlib import Path

import pytest

from mistral_dev import audit, certificates, fake_nodes, settings, sysctls
from mistral_dev.cluster import Cluster
from mistral_dev.commands import run
from mistral_dev.containerd import Containerd
from mistral_dev.control_plane import ControlPlane
from mistral_dev.errors import CommandFailedError, DevError, MissingRequirementError, UsageError
from mistral_dev.kubectl import Kubectl
from mistral_dev.node import Node
from mistral_dev.packages import CONTROL_PLANE_PACKAGES, NODE_PACKAGES, advice, missing
from mistral_dev.paths import Layout, cache_dir, clusters_dir, locked
from mistral_dev.processes import Processes
from mistral_dev.settings import Ports, Profile, Settings, allocate

PORTS = Ports(1, 2, 3, 4, 5, 6, 7)


def control_plane(root: Path, *, netns: str | None = None, audited: bool = False) -> ControlPlane:
    layout = Layout(root)
    return ControlPlane(layout, Processes(layout, netns), PORTS, audited)


def node(root: Path) -> Node:
    layout = Layout(root)
    processes = Processes(layout, "msd-x")
    containerd = Containerd(layout, processes, "msd-x")
    return Node(layout, processes, containerd, Kubectl(Path("kubectl"), layout.kubeconfig), "msd-x")


@pytest.mark.parametrize("name", ["dev", "e2e", "a", "0", "my-test-2", "a" * 30])
def test_a_sober_name_is_a_name(name: str) -> None:
    assert Cluster(name).netns == f"msd-{name}"


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "../a", "a" * 31, "a\n"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a cluster"):
        Cluster(name)


def test_paths_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MISTRAL_DEV_CACHE", "MISTRAL_DEV_STATE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "mistral-small-operator"
    assert clusters_dir() == cache_dir() / "clusters"
    monkeypatch.setenv("MISTRAL_DEV_CACHE", str(tmp_path / "cache"))
    assert clusters_dir() == tmp_path / "cache" / "clusters"
    monkeypatch.setenv("MISTRAL_DEV_STATE", str(tmp_path / "state"))
    assert Cluster("x").layout.root == tmp_path / "state" / "x"


def test_a_cluster_is_what_it_was_made_as(tmp_path: Path) -> None:
    Settings(Profile.CONTROL_PLANE, PORTS).save(tmp_path)
    assert Cluster("x", state_dir=tmp_path).profile is Profile.CONTROL_PLANE
    with pytest.raises(UsageError, match="made with the profile control-plane"):
        Cluster("x", "node", state_dir=tmp_path)


def test_a_cluster_that_never_was_is_down_and_stays_so(tmp_path: Path) -> None:
    cluster = Cluster("x", "control-plane", state_dir=tmp_path / "x")
    assert not cluster.exists()
    assert not cluster.is_up()
    cluster.down(wipe=True)
    assert not (tmp_path / "x").exists()
    with pytest.raises(UsageError, match="cluster up --profile control-plane --name x"):
        _ = cluster.api_url


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    saved = Settings(Profile.NODE, PORTS, gpus=4)
    saved.save(tmp_path)
    assert Settings.load(tmp_path) == saved


@pytest.mark.parametrize("text", ["{}", '{"profile": "other", "ports": {}, "gpus": null}', "["])
def test_settings_of_another_version_are_an_error_that_names_the_file(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(DevError, match=str(tmp_path / r"cluster\.json")):
        Settings.load(tmp_path)


def test_ports_stay_the_same_over_restarts(tmp_path: Path) -> None:
    first = allocate(tmp_path, Profile.CONTROL_PLANE, running=False)
    assert allocate(tmp_path, Profile.CONTROL_PLANE, running=False) == first


def test_a_port_in_use_is_replaced(tmp_path: Path) -> None:
    first = allocate(tmp_path, Profile.NODE, running=False)
    with socket.socket() as other:
        # Connections of another test that linger at this port do not make it taken.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.ports.api))
        other.listen()
        assert allocate(tmp_path, Profile.NODE, running=True) == first
        assert allocate(tmp_path, Profile.NODE, running=False).ports.api != first.ports.api


def test_clusters_that_are_down_keep_their_ports_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "LOWEST_PORT", 21000)
    monkeypatch.setattr(settings, "HIGHEST_PORT", 21019)
    chosen = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = allocate(tmp_path / name, Profile.CONTROL_PLANE, running=False)
        chosen += made.ports.outside(Profile.CONTROL_PLANE)
    assert len(chosen) == len(set(chosen)) == 14


def test_only_a_cluster_in_a_namespace_publishes_its_api_server(tmp_path: Path) -> None:
    loopback = control_plane(tmp_path).apiserver_flags()
    assert "--bind-address=127.0.0.1" in loopback
    assert "--endpoint-reconciler-type=none" in loopback
    inside = control_plane(tmp_path, netns="msd-x").apiserver_flags()
    assert "--advertise-address=10.77.0.1" in inside
    assert not [flag for flag in inside if "endpoint-reconciler" in flag]


def test_every_part_listens_on_its_own_port_and_no_default(tmp_path: Path) -> None:
    plane = control_plane(tmp_path)
    assert "--listen-client-urls=https://127.0.0.1:2" in plane.etcd_flags()
    assert "--listen-peer-urls=http://127.0.0.1:3" in plane.etcd_flags()
    assert "--listen-metrics-urls=http://127.0.0.1:4" in plane.etcd_flags()
    assert "--secure-port=1" in plane.apiserver_flags()
    assert "--etcd-servers=https://127.0.0.1:2" in plane.apiserver_flags()
    assert "--secure-port=5" in plane.controller_manager_flags()
    assert "--secure-port=6" in plane.scheduler_flags()


def test_the_audit_log_is_written_only_on_request(tmp_path: Path) -> None:
    want = f"--audit-log-path={tmp_path / 'logs' / 'audit.jsonl'}"
    assert want in control_plane(tmp_path, audited=True).apiserver_flags()
    plain = control_plane(tmp_path).apiserver_flags()
    assert not [flag for flag in plain if flag.startswith("--audit")]


def test_audit_events_are_read_from_a_position_up_to_the_last_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b'{"verb": "get"}\n')
    position = log.stat().st_size
    log.write_bytes(log.read_bytes() + b'{"verb": "create"}\n{"verb": "pat')
    assert [event["verb"] for event in audit.events(log, 0)] == ["get", "create"]
    assert [event["verb"] for event in audit.events(log, position)] == ["create"]


def test_containerd_keeps_everything_in_the_state_directory(tmp_path: Path) -> None:
    config = tomllib.loads(node(tmp_path).containerd.render("pause:1"))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "pause:1"
    paths = [config["root"], config["state"], config["grpc"]["address"], cri["cni"]["conf_dir"]]
    assert all(path.startswith(f"{tmp_path}/") for path in paths)


def test_a_socket_path_that_linux_would_refuse_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="MISTRAL_DEV_STATE"):
        node(tmp_path / ("deep" * 25)).containerd.start("pause:1")


def test_each_kubelet_has_a_control_group_of_its_own(tmp_path: Path) -> None:
    config = node(tmp_path).kubelet_config()
    assert config["cgroupRoot"] == "/msd-x"
    assert config["containerRuntimeEndpoint"] == f"unix://{tmp_path}/run/containerd.sock"


def test_fake_nodes_are_distinct_marked_and_of_the_requested_size() -> None:
    listed = fake_nodes.FakeNodes(3, gpus=2, cpu=4, memory="8Gi").manifests()
    items = json.loads(json.dumps(listed))["items"]
    assert [item["metadata"]["name"] for item in items] == ["fake-0", "fake-1", "fake-2"]
    for item in items:
        assert item["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
        assert item["status"]["allocatable"] == {
            "cpu": "4",
            "memory": "8Gi",
            "ephemeral-storage": "2Ti",
            "nvidia.com/gpu": "2",
            "pods": "110",
        }
        assert item["spec"] == {}


def test_fake_nodes_beside_a_real_one_keep_other_pods_away() -> None:
    listed = fake_nodes.FakeNodes(1, tainted=True).manifests()
    (item,) = json.loads(json.dumps(listed))["items"]
    assert item["spec"]["taints"][0]["effect"] == "NoSchedule"


def test_certificates_are_signed_by_their_authority_and_made_once(tmp_path: Path) -> None:
    certificates.create(tmp_path)
    for certificate in certificates.CERTIFICATES:
        authority = tmp_path / f"{certificate.authority}.crt"
        run(["openssl", "verify", "-CAfile", authority, tmp_path / f"{certificate.name}.crt"])
    before = (tmp_path / "admin.crt").read_bytes()
    certificates.create(tmp_path)
    assert (tmp_path / "admin.crt").read_bytes() == before


def test_kubeconfigs_are_for_the_owner_only_and_follow_the_port(tmp_path: Path) -> None:
    for name in ("ca.crt", *(f"{n}.{e}" for n in certificates.KUBECONFIGS for e in ("crt", "key"))):
        (tmp_path / name).write_text("x")
    certificates.write_kubeconfigs(tmp_path, 4711)
    written = tmp_path / "admin.kubeconfig"
    assert "https://127.0.0.1:4711" in written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_missing_package_is_detected_and_named() -> None:
    assert missing({"coreutils": "ls", "no-such": "no-such-program", "file": "/no/such"}) == [
        "no-such",
        "file",
    ]
    assert advice(["a", "b"]) == "sudo apt-get install -y --no-install-recommends a b"
    assert set(CONTROL_PLANE_PACKAGES) < set(NODE_PACKAGES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may have a node")
def test_without_root_a_node_is_refused_and_the_other_profile_named(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirementError, match="--profile control-plane"):
        Cluster("x", "node", state_dir=tmp_path / "x").up()


def test_a_lock_whose_file_was_deleted_can_be_taken_again(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as lock:
        lock.unlink()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()


def test_the_last_cluster_to_go_puts_the_kernel_settings_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "sys"
    setting = system / "vm" / "overcommit_memory"
    setting.parent.mkdir(parents=True)
    setting.write_text("0\n")
    monkeypatch.setattr(sysctls, "_SYSTEM", system)
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        Layout(root).create()
        sysctls.acquire(root, tmp_path / "record")
        setting.write_text("1\n")  # as its kubelet does
        Processes(Layout(root)).start("kubelet", ["sleep", "600"])
    for root, expected in zip(roots, ["1", "0"], strict=True):
        Processes(Layout(root)).stop(["kubelet"])
        sysctls.release(root, tmp_path / "record")
        assert setting.read_text().strip() == expected
    assert not list((tmp_path / "record").iterdir())


def test_a_failed_command_is_quoted() -> None:
    with pytest.raises(CommandFailedError, match=r"ended with 3:\nit broke") as caught:
        run(["sh", "-c", "echo it broke >&2; exit 3"])
    assert caught.value.returncode == 3
