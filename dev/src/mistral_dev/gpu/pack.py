"""Pack vLLM's CUDA build into pieces that travel one by one: ``python -m mistral_dev gpu pack``.

For machines with a GPU and without a package index. What is packed is installed by hash for CPython
3.12, less what a dense model on a Hopper GPU never calls; torch, numpy and some hundred others have
to be there. ``unpack`` puts the pieces together.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from mistral_dev.errors import CommandFailedError
from mistral_dev.gpu.unpack import MANIFEST, Manifest
from mistral_dev.images.steps import size_of
from mistral_dev.paths import CHECKOUT_DEV, cache_dir
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

REQUIREMENTS = CHECKOUT_DEV / "gpu" / "requirements.txt"
"""What is packed."""

PYTHON = "3.12"
"""The interpreter of the machine."""

PLATFORM = "x86_64-manylinux_2_39"
"""Its C library: Ubuntu 24.04's."""

PIECE_BYTES = 57 * 1024 * 1024
"""A call carries 64 MiB at most, with the working tree's 3."""

LEFT_OUT = (
    "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so",  # Hopper takes version 3
    "vllm/_moe_C_stable_libtorch.abi3.so",  # mixtures of experts
    "vllm/_flashmla_*.so",  # DeepSeek's attention
    "vllm/_qutlass_C.abi3.so",  # Blackwell
    "vllm/vllm-rs",  # the frontend in Rust, which loads no middleware
    "vllm/third_party/fmha_sm100/*",  # Blackwell
    "vllm/third_party/deep_gemm/*",  # fp8 in blocks; turned off by VLLM_USE_DEEP_GEMM=0
    "vllm/third_party/tml_fa4/*",
    "vllm/vllm_flash_attn/cute/*",
    "pycountry/locales/*",
    "mistral_common/data/*.model*",
    "mistral_common/data/tekken_240718.json",
    "cryptography/hazmat/bindings/_rust/*.pyi",
    "bin/*",
    "*.pyc",
)
"""Paths that do not travel, as the shell writes them; `*` also stands for `/`."""


def travels(path: str) -> bool:
    """Say whether a file of the installed packages is packed."""
    return not any(fnmatch(path, pattern) for pattern in LEFT_OUT)


def pack(target: Path | None, progress: Progress) -> list[Path]:
    """Write the pieces, one folder for each call, and return the folders.

    Raises:
        CommandFailedError: the download, or the compression, failed.
    """
    out = target or cache_dir() / "gpu-pieces"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        site, archive = Path(scratch, "site"), Path(scratch, "site.tar.xz")
        with progress.step("downloading vLLM's CUDA build"):
            _install(site)
        with progress.step("compressing"):
            _compress(site, archive)
        folders = split(archive, out, PIECE_BYTES)
    for folder in folders:
        progress.line(f"{folder}  {size_of(folder) / 1e6:.1f} MB")
    return folders


def _install(site: Path) -> None:
    uv(
        *("pip", "install", "--target", str(site), "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", PYTHON, "--python-platform", PLATFORM),
        *("-r", str(REQUIREMENTS)),
    )


def _files(site: Path) -> Iterator[tuple[str, Path]]:
    # Shared objects last and side by side: their code resembles each other's, not the texts'.
    paths = [path for path in site.rglob("*") if path.is_file()]
    for path in sorted(paths, key=lambda path: (path.suffix == ".so", str(path))):
        name = path.relative_to(site).as_posix()
        if travels(name):
            yield name, path


def _compress(site: Path, archive: Path) -> None:
    # GPU code compresses three times better by xz than by what wheels use.
    command = ["nice", "-n", "15", "xz", "--threads=2", "--x86", "--lzma2=preset=8,dict=64MiB"]
    with archive.open("wb") as file:
        xz = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
        assert xz.stdin is not None  # noqa: S101 - asked for above
        with tarfile.open(fileobj=xz.stdin, mode="w|") as tar:
            for name, path in _files(site):
                tar.add(path, name, recursive=False, filter=_plain)
        xz.stdin.close()
    if code := xz.wait():
        raise CommandFailedError(command, code, "")


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose file it was and when it was made: same packages, same bytes."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def split(archive: Path, out: Path, limit: int) -> list[Path]:
    """Cut an archive into pieces of at most `limit` bytes, each in a folder with the manifest."""
    size = archive.stat().st_size
    limit = -(-size // -(-size // limit))  # as many as it takes, and all of one size
    folders = []
    hashes = {}
    with archive.open("rb") as file:
        for number, piece in enumerate(iter(lambda: file.read(limit), b""), start=1):
            folder = out / f"call-{number}"
            folder.mkdir()
            (folder / f"piece-{number}").write_bytes(piece)
            hashes[f"piece-{number}"] = hashlib.sha256(piece).hexdigest()
            folders.append(folder)
    _write_manifests(folders, hashes)
    return folders


def _write_manifests(folders: Iterable[Path], hashes: Manifest) -> None:
    for folder in folders:
        (folder / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
