"""Put the pieces together on the machine with the GPU: ``python -m mistral_dev.gpu unpack``.

Called once for each piece that arrived; the call that finds all of them unpacks. This module needs
Python's library alone, and its command click, which the machine has: what is packed is not there
before. The one module more that it needs, which reads zstd, travels with the pieces.
"""

import compileall
import hashlib
import importlib
import io
import json
import multiprocessing
import re
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "pieces.json"
"""Travels with every piece."""

ZSTANDARD = "zstandard.zip"
"""The module that reads zstd, for the machine's Python."""

_UNPACKED = "packing.sha256"
"""File in `site` with the hash of the manifest whose pieces it was put together from."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
"""Of a file that travels: it is written below a directory of ours, so no path."""

_WINDOW_BYTES = 1 << 27
"""zstd's window, as of `zstd --long=27`; a reader has to allow it."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What was packed."""

    archives: dict[str, list[str]]
    """The pieces of each archive, in their order."""
    hashes: dict[str, str]
    """SHA-256 of every file that travels."""


class DamagedPieceError(Exception):
    """A piece, or the manifest, is not what was packed."""


class UnpackingFailedError(Exception):
    """An archive could not be extracted."""


def unpack(arrived: Path, home: Path) -> list[str]:
    """Take what arrived; return the names of the files that are missing, none if all is unpacked.

    Pieces of another packing count as missing, and so do those that were cut while they were kept.
    Packages of another packing stay in `site` until the new ones are complete.

    Args:
        arrived: folder with the manifest and one or more pieces.
        home: directory that keeps the pieces in `pieces` and gets the packages in `site`.

    Raises:
        DamagedPieceError: a piece does not have the hash that it was packed with, or the manifest
            is none.
        UnpackingFailedError: an archive could not be extracted.
    """
    text = (arrived / MANIFEST).read_bytes()
    manifest, packing = _manifest(arrived / MANIFEST, text), hashlib.sha256(text).hexdigest()
    if _unpacked(home / "site") == packing:
        return []
    kept = home / "pieces"
    kept.mkdir(parents=True, exist_ok=True)
    for name, digest in manifest.hashes.items():
        if (arrived / name).exists():
            _keep(arrived / name, kept / name, digest)
    missing = [name for name, digest in manifest.hashes.items() if _hash(kept / name) != digest]
    if not missing:
        _extract_all(manifest, packing, home)
    return missing


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        manifest = Manifest(**json.loads(text))
        used = {ZSTANDARD, *(part for parts in manifest.archives.values() for part in parts)}
        usable = used <= set(manifest.hashes) and all(map(_NAME.fullmatch, manifest.hashes))
    except (AttributeError, TypeError, ValueError):
        usable = False
    if not usable:
        raise DamagedPieceError(f"{path} is damaged: carry it again.")
    return manifest


def _unpacked(site: Path) -> str:
    """Return the hash of the manifest that a site was made from, nothing if there is none."""
    try:
        return (site / _UNPACKED).read_text()
    except OSError:
        return ""


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _keep(source: Path, target: Path, digest: str) -> None:
    if _hash(source) != digest:
        raise DamagedPieceError(f"{source} is damaged, or of another packing: carry it again.")
    shutil.copy(source, target)


def _extract_all(manifest: Manifest, packing: str, home: Path) -> None:
    half = home / "site.part"
    for left in (half, home / "zstandard"):
        shutil.rmtree(left, ignore_errors=True)
    with zipfile.ZipFile(home / "pieces" / ZSTANDARD) as packed:
        packed.extractall(home / "zstandard")  # noqa: S202 - ours, checked by hash
    # Processes of their own: decompression takes a core each, and all of them 3 s instead of 10.
    workers = [
        multiprocessing.Process(target=_extract, args=(home, parts, half))
        for parts in manifest.archives.values()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise UnpackingFailedError("an archive could not be extracted: see above")
    link_libraries(half, Path(sysconfig.get_paths()["purelib"], "nvidia"))
    (half / _UNPACKED).write_text(packing)
    shutil.rmtree(home / "site", ignore_errors=True)
    half.rename(home / "site")
    # vLLM's start imports some thousand modules in each of its processes.
    compileall.compile_dir(home / "site", quiet=2, workers=0)


def _extract(home: Path, parts: Iterable[str], target: Path) -> None:
    sys.path.insert(0, str(home / "zstandard"))
    zstandard: Any = importlib.import_module("zstandard")
    whole = io.BufferedReader(_Joined(home / "pieces" / part for part in parts), _READ_BYTES)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    with (
        decompressor.stream_reader(whole, read_size=_READ_BYTES) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        tar.extractall(target, filter=_with_its_folder)  # noqa: S202 - ours, by hash


def _with_its_folder(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo:
    """Check a member and make its folder, which the process of the other archive may make too.

    Before Python 3.13 one of them fails where both find that it is not there.
    """
    checked = tarfile.data_filter(member, target)
    Path(target, checked.name).parent.mkdir(parents=True, exist_ok=True)
    return checked


class _Joined(io.RawIOBase):
    """Reads files one after the other."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = (path.open("rb") for path in paths)
        self._file = next(self._files, None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._file is not None:
            if size := self._file.readinto(buffer):
                return size
            self._file.close()
            self._file = next(self._files, None)
        return 0


def link_libraries(site: Path, libraries: Path) -> list[str]:
    """Link NVIDIA's libraries of this machine beside the torch that was packed; return which.

    torch searches `../../nvidia/*/lib` relative to its own path. Packed libraries are kept.

    Args:
        site: directory with the packages.
        libraries: directory `nvidia` of the interpreter's own packages; none if it is not there.
    """
    folders = sorted(path for path in libraries.glob("*") if path.is_dir())
    (site / "nvidia").mkdir(parents=True, exist_ok=True)
    linked = [folder for folder in folders if not (site / "nvidia" / folder.name).exists()]
    for folder in linked:
        (site / "nvidia" / folder.name).symlink_to(folder)
    return [folder.name for folder in linked]
