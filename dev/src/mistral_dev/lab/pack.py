"""Pack vLLM and torch into pieces that travel one by one: ``python -m mistral_dev gpu pack``.

For machines with a GPU and without a package index. What is packed is installed by hash for CPython
3.12, less what a dense model on a Hopper GPU never calls; transformers, numpy, NVIDIA's libraries
and some hundred others have to be there. ``unpack`` puts the pieces together.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

from mistral_dev.errors import CommandFailedError
from mistral_dev.images.steps import size_of
from mistral_dev.lab.slim import slim
from mistral_dev.lab.unpack import MANIFEST, ZSTANDARD, Manifest
from mistral_dev.paths import CHECKOUT_DEV, cache_dir
from mistral_dev.progress import Progress
from mistral_dev.uv import uv

REQUIREMENTS = CHECKOUT_DEV / "lab" / "requirements.txt"
"""What is packed."""

PYTHON = "3.12"
"""The interpreter of the machine."""

PLATFORM = "x86_64-manylinux_2_39"
"""Its C library: Ubuntu 24.04's."""

FOLDER_BYTES = 57 * 1024 * 1024
"""A call carries 64 MiB at most, with the working tree's 3."""

PIECE_BYTES = 55 * 1024 * 1024
"""The rest of a folder is for the manifest and, in the last one, for what unpacks: 1 MB."""

LEFT_OUT = (
    "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so",  # Hopper takes version 3
    "vllm/_moe_C_stable_libtorch.abi3.so",  # mixtures of experts
    "vllm/_flashmla_*.so",  # DeepSeek's attention
    "vllm/_deepselect_C.abi3.so",  # the same
    "vllm/_qutlass_C.abi3.so",  # Blackwell
    "vllm/vllm-rs",  # the frontend in Rust, which loads no middleware
    "vllm/third_party/fmha_sm100/*",  # Blackwell
    "vllm/third_party/deep_gemm/*",  # fp8 in blocks; turned off by VLLM_USE_DEEP_GEMM=0
    "vllm/third_party/tml_fa4/*",
    "vllm/vllm_flash_attn/cute/*",
    # torch/bin/torch_shm_manager stays, `import torch` requires it; so does torch/include, against
    # which Inductor may compile C++.
    "torch/bin/protoc*",
    "torch/test/*",
    "torch/share/*",
    "torch/lib/*.a",
    "triton/_C/libproton.so",  # a profiler
    "triton/instrumentation/*",
    "triton/plugins/*",
    "triton/backends/nvidia/lib/cupti/*",
    "triton/backends/nvidia/bin/ptxas-blackwell",
    "triton/backends/nvidia/bin/nvdisasm",
    "nvidia/nccl/include/*",
    "zstandard/_cffi*",  # the backend for PyPy
    "pycountry/locales/*",
    "mistral_common/data/*.model*",
    "mistral_common/data/tekken_240718.json",
    "bin/*",
    "*.pyi",
    "*.pyc",
)
"""Shell patterns of files that are not packed; `*` also matches `/`."""

KEPT = ("bin/py-spy",)
"""Files that are packed although `LEFT_OUT` matches them: the scenario `throughput` uses it."""

LARGE_BYTES = 4_000_000
"""Programs from this size on have an archive of their own, with a lower level of compression."""

LEVELS = {"large": 9, "small": 12}
"""zstd's level for each archive: on two cores both take a minute, higher ones gain 2 %."""


def travels(path: str) -> bool:
    """Return whether a file of the installed packages is packed."""
    return path in KEPT or not any(fnmatch(path, pattern) for pattern in LEFT_OUT)


def pack(target: Path | None, progress: Progress) -> list[Path]:
    """Write the pieces, one folder for each call, and return the folders.

    Raises:
        CommandFailedError: the download, or the compression, failed.
    """
    out = target or cache_dir() / "gpu-pieces"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        site = Path(scratch, "site")
        with progress.step("downloading vLLM and torch for CUDA"):
            _install(site)
        with progress.step("clearing code for other GPUs"):
            slim(site)
        with progress.step("compressing"):
            archives = [_compress(site, name, Path(scratch)) for name in LEVELS]
        folders = split(archives, _decompressor(site, Path(scratch)), out, PIECE_BYTES)
    for folder in folders:
        progress.line(f"{folder}  {size_of(folder) / 1e6:.1f} MB")
    return folders


def _install(site: Path) -> None:
    uv(
        *("pip", "install", "--target", str(site), "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", PYTHON, "--python-platform", PLATFORM),
        *(
            "--link-mode",
            "copy",
        ),  # `slim` writes into these files, which must not be links to uv's cache
        *("-r", str(REQUIREMENTS)),
    )


def archive_of(path: Path) -> str:
    """Return the archive of a file: similar files compress better together."""
    program = ".so" in path.name or path.name == "ptxas"
    return "large" if program and path.stat().st_size > LARGE_BYTES else "small"


def _files(site: Path, archive: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        if path.is_file() and travels(name) and archive_of(path) == archive:
            yield name, path


def _compress(site: Path, archive: str, scratch: Path) -> Path:
    target = scratch / f"{archive}.tar.zst"
    command = ["zstd", "-q", "-T2", f"-{LEVELS[archive]}", "--long=27", "-o", str(target)]
    zstd = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert zstd.stdin is not None  # noqa: S101 - a pipe, see above
    with tarfile.open(fileobj=zstd.stdin, mode="w|") as tar:
        for name, path in _files(site, archive):
            tar.add(path, name, recursive=False, filter=_plain)
    zstd.stdin.close()
    if code := zstd.wait():
        raise CommandFailedError(command, code, "")
    return target


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose file it was and when it was made: same packages, same bytes."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def _decompressor(site: Path, scratch: Path) -> Path:
    """Pack the module that reads zstd: Python's library has none before 3.14."""
    target = scratch / ZSTANDARD
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((site / "zstandard").iterdir()):
            name = path.relative_to(site).as_posix()
            if path.is_file() and travels(name):
                packed.write(path, name)
    return target


def split(archives: Iterable[Path], decompressor: Path, out: Path, limit: int) -> list[Path]:
    """Cut archives into pieces, each in a folder with the manifest, and return the folders.

    Args:
        archives: files called `NAME.tar.zst`.
        decompressor: what `unpack` needs to read them; goes with the last piece.
        out: directory for the folders.
        limit: most bytes of a piece.
    """
    manifest = Manifest({}, {})
    folders: list[Path] = []
    for archive in archives:
        name = archive.name.partition(".")[0]
        manifest.archives[name] = []
        for piece in _cut(archive, limit):
            folders.append(out / f"call-{len(folders) + 1}")
            folders[-1].mkdir()
            part = f"{name}-{len(manifest.archives[name]) + 1}"
            (folders[-1] / part).write_bytes(piece)
            manifest.archives[name].append(part)
            manifest.hashes[part] = hashlib.sha256(piece).hexdigest()
    shutil.copy(decompressor, folders[-1] / ZSTANDARD)
    manifest.hashes[ZSTANDARD] = hashlib.sha256(decompressor.read_bytes()).hexdigest()
    for folder in folders:
        (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
    return folders


def _cut(archive: Path, limit: int) -> Iterator[bytes]:
    size = archive.stat().st_size
    step = -(-size // -(-size // limit))  # as many as it takes, and all of one size
    with archive.open("rb") as file:
        yield from iter(lambda: file.read(step), b"")
