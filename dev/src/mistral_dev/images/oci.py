"""Write container images as OCI archives, which ``ctr images import``, podman and skopeo read.

Called by ``server_image``, ``operator_image`` and ``mistral_dev.pause``. An image is a list of
layers; ``write_layer`` packs a directory once and keeps it compressed, so that an image whose last
layer changed is written by copying the others. Nothing depends on the clock or on who wrote it:
equal inputs give equal bytes. Needs the ``zstd`` program; the rest is the standard library.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mistral_dev.errors import CommandFailedError

MTIME = 315532800
"""1980-01-01, the earliest time that a zip file can hold: some tools pack files again."""

ZSTD = ("zstd", "--quiet", "--stdout", "-T2", "-3")
"""Level 3: the engine's 1.2 GB are packed in seconds, and the archive never leaves the machine."""

_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_PLATFORM = {"architecture": "amd64", "os": "linux"}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ImageConfig:
    """How a container of the image starts.

    Attributes:
        entrypoint: the program and its first arguments.
        user: ``uid:gid``, numbers, so that ``runAsNonRoot`` can be checked.
        env: environment variables.
        workdir: the directory it starts in.
        ports: TCP ports that it listens on, for the reader.
    """

    entrypoint: Sequence[str]
    user: str
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    ports: Sequence[int] = ()

    def document(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        """Return the image's configuration in OCI's terms."""
        return {
            **_PLATFORM,
            "config": {
                "User": self.user,
                "Env": [f"{name}={value}" for name, value in self.env.items()],
                "Entrypoint": list(self.entrypoint),
                "WorkingDir": self.workdir,
                "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            },
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }


@dataclass(frozen=True)
class _Layer:
    """A layer's file, its digest, the digest of the tar in it, and whether it is compressed."""

    blob: Path
    digest: str
    diff_id: str
    compressed: bool

    def descriptor(self) -> dict[str, Any]:
        """Return the layer's entry in an image manifest."""
        return {
            "mediaType": f"{_LAYER_TYPE}+zstd" if self.compressed else _LAYER_TYPE,
            "digest": f"sha256:{self.digest}",
            "size": self.blob.stat().st_size,
        }


def write_layer(root: Path, out: Path) -> None:
    """Pack the directory ``root`` into the layer ``out``, and its digests into a file beside it.

    Owners become 0:0 and times ``MTIME``. Python's timestamp-checked bytecode does not survive
    that: compile with ``compile_tree`` of ``rootfs`` first.

    Args:
        root: what ``/`` of the container gets.
        out: ends in ``.zst``.

    Raises:
        CommandFailedError: zstd failed.
    """
    with (
        out.open("wb") as compressed,
        _Compressor(compressed) as sink,
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.add(root, arcname=".", filter=_anonymous)
    digests = {"digest": _digest_of(out), "diff_id": sink.digest()}
    _digests_beside(out).write_text(json.dumps(digests))


def write_archive(out: Path, name: str, layers: Sequence[Path], config: ImageConfig) -> None:
    """Write an image that the container runtime will know as ``name``.

    Args:
        out: the archive; replaced if it is there.
        name: ``repository:tag`` without a registry, such as ``local/mistral-small-server:dev``.
        layers: the lowest first; what ``write_layer`` wrote, or uncompressed tar files.
        config: how a container starts.
    """
    read = [_read_layer(path) for path in layers]
    settings = _encode(config.document([f"sha256:{layer.diff_id}" for layer in read]))
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _described(settings, _CONFIG_TYPE),
            "layers": [layer.descriptor() for layer in read],
        }
    )
    entry = _described(manifest, _MANIFEST_TYPE) | {
        "platform": _PLATFORM,
        "annotations": {
            "io.containerd.image.name": qualified(name),
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        },
    }
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        _add_bytes(tar, "oci-layout", _encode({"imageLayoutVersion": "1.0.0"}))
        _add_bytes(tar, "index.json", _encode({"schemaVersion": 2, "manifests": [entry]}))
        for document in (settings, manifest):
            _add_bytes(tar, f"blobs/sha256/{hashlib.sha256(document).hexdigest()}", document)
        for digest, layer in {layer.digest: layer for layer in read}.items():
            with layer.blob.open("rb") as file:
                _add(tar, f"blobs/sha256/{digest}", file, layer.blob.stat().st_size)


def qualified(name: str) -> str:
    """Return the name in full, as Kubernetes completes it before it resolves an image."""
    domain, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in domain or ":" in domain else f"docker.io/{name}"


class _Compressor(io.RawIOBase):
    """A sink that hashes what it gets and passes it through zstd into a file."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__()
        self._hash = hashlib.sha256()
        self._zstd = subprocess.Popen(ZSTD, stdin=subprocess.PIPE, stdout=out)

    def write(self, data: Any) -> int:
        """Take what tarfile writes, 10 KiB at a time."""
        self._hash.update(data)
        assert self._zstd.stdin is not None  # noqa: S101 - it was opened as a pipe
        self._zstd.stdin.write(data)
        return len(data)

    def writable(self) -> bool:
        """Return True: this is a sink."""
        return True

    def close(self) -> None:
        """End the compressed stream."""
        if not self.closed:
            super().close()
            self._zstd.communicate()
            if self._zstd.returncode != 0:
                raise CommandFailedError(ZSTD, self._zstd.returncode, "")

    def digest(self) -> str:
        """Return the hash of everything that was written, in hexadecimal."""
        return self._hash.hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = MTIME
    return member


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    _add(tar, name, io.BytesIO(data), len(data))


def _add(tar: tarfile.TarFile, name: str, data: IO[bytes], size: int) -> None:
    member = _anonymous(tarfile.TarInfo(name))
    member.size = size
    tar.addfile(member, data)


def _encode(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _described(document: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(document).hexdigest()
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(document)}


def _read_layer(path: Path) -> _Layer:
    if path.suffix != ".zst":
        digest = _digest_of(path)
        return _Layer(path, digest, digest, compressed=False)
    digests = json.loads(_digests_beside(path).read_text())
    return _Layer(path, digests["digest"], digests["diff_id"], compressed=True)


def _digests_beside(layer: Path) -> Path:
    return layer.with_suffix(".json")


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
