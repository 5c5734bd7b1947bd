"""What ``mistral_dev.images.oci`` writes: valid archives, and the same bytes for the same input."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mistral_dev.images import oci

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")

CONFIG = oci.ImageConfig(
    entrypoint=["serve", "--all"], user="65532:65532", env={"HOME": "/tmp"}, ports=(8000,)
)


def tree(root: Path, mtime: int) -> Path:
    """Make a small directory tree whose files are of the time ``mtime``."""
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "serve").write_text("#!/bin/sh\n")
    (root / "usr" / "bin" / "serve").chmod(0o755)
    (root / "usr" / "data").write_bytes(bytes(range(256)) * 100)
    (root / "bin").symlink_to("usr/bin")
    for path in [root, *root.rglob("*")]:
        os.utime(path, (mtime, mtime), follow_symlinks=False)
    return root


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        files = ((member, tar.extractfile(member)) for member in tar.getmembers())
        return {member.name: file.read() for member, file in files if file is not None}


def unpacked(layer: bytes) -> bytes:
    return subprocess.run(["zstd", "-dc"], input=layer, capture_output=True, check=True).stdout


def manifest_of(files: dict[str, bytes]) -> dict[str, Any]:
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest: dict[str, Any] = json.loads(blob(files, entry))
    return manifest


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """Return the content that a descriptor names, after checking its digest and size."""
    content = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert hashlib.sha256(content).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    assert len(content) == descriptor["size"]
    return content


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    oci.write_layer(tree(tmp_path / "root", mtime=1_000), tmp_path / "layer.tar.zst")
    out = tmp_path / "image.tar"
    oci.write_archive(out, "local/thing:dev", [tmp_path / "layer.tar.zst"], CONFIG)
    return out


def test_every_digest_in_an_archive_names_its_content(archive: Path) -> None:
    files = contents(archive)
    manifest = manifest_of(files)
    settings = json.loads(blob(files, manifest["config"]))
    (layer,) = manifest["layers"]
    (diff_id,) = settings["rootfs"]["diff_ids"]
    assert f"sha256:{hashlib.sha256(unpacked(blob(files, layer))).hexdigest()}" == diff_id
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_the_configuration_defines_how_a_container_starts(archive: Path) -> None:
    files = contents(archive)
    settings = json.loads(blob(files, manifest_of(files)["config"]))
    assert settings["config"] == {
        "User": "65532:65532",
        "Env": ["HOME=/tmp"],
        "Entrypoint": ["serve", "--all"],
        "WorkingDir": "/",
        "ExposedPorts": {"8000/tcp": {}},
    }


def test_a_layer_holds_the_tree_with_owners_and_times_taken_away(archive: Path) -> None:
    files = contents(archive)
    (layer,) = manifest_of(files)["layers"]
    with tarfile.open(fileobj=io.BytesIO(unpacked(blob(files, layer)))) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert set(members) == {".", "./bin", "./usr", "./usr/bin", "./usr/bin/serve", "./usr/data"}
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}
    assert {member.mtime for member in members.values()} == {oci.MTIME}
    assert members["./usr/bin/serve"].mode == 0o755
    assert members["./bin"].linkname == "usr/bin"


def test_the_same_tree_at_another_time_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name, mtime in (("first", 1_000), ("second", 2_000_000)):
        layer = tmp_path / f"{name}.tar.zst"
        oci.write_layer(tree(tmp_path / name, mtime), layer)
        oci.write_archive(tmp_path / f"{name}.tar", "local/thing:dev", [layer], CONFIG)
        written.append((tmp_path / f"{name}.tar").read_bytes())
    assert written[0] == written[1]


def test_an_uncompressed_tar_is_a_layer_too(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(tree(tmp_path / "root", mtime=0), arcname=".")
    oci.write_archive(tmp_path / "image.tar", "local/thing:dev", [layer], CONFIG)
    files = contents(tmp_path / "image.tar")
    manifest = manifest_of(files)
    (descriptor,) = manifest["layers"]
    assert descriptor["mediaType"].endswith(".tar")
    diff_ids = json.loads(blob(files, manifest["config"]))["rootfs"]["diff_ids"]
    assert diff_ids == [descriptor["digest"]]


def test_a_layer_that_is_used_twice_is_stored_once(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar.zst"
    oci.write_layer(tree(tmp_path / "root", mtime=0), layer)
    oci.write_archive(tmp_path / "image.tar", "local/thing:dev", [layer, layer], CONFIG)
    with tarfile.open(tmp_path / "image.tar") as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("local/mistral-small-server:dev", "docker.io/local/mistral-small-server:dev"),
        ("pause:1", "docker.io/library/pause:1"),
        ("mistral-dev.local/pause:1", "mistral-dev.local/pause:1"),
        ("localhost:5000/pause:1", "localhost:5000/pause:1"),
    ],
)
def test_names_are_completed_as_kubernetes_completes_them(name: str, full: str) -> None:
    assert oci.qualified(name) == full
