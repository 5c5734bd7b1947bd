"""Put the pieces together on the machine with the GPU: ``python -m mistral_dev.gpu unpack``.

Called once for each piece that arrived; the call that finds all of them unpacks. Standard library
only: before it has run there is nothing else.
"""

import compileall
import hashlib
import json
import lzma
import shutil
import tarfile
from pathlib import Path

MANIFEST = "pieces.json"
"""Names of all pieces, in their order, to the SHA-256 of each; travels with every piece."""

Manifest = dict[str, str]


class DamagedPieceError(Exception):
    """A piece is not what was packed."""


def unpack(arrived: Path, home: Path) -> list[str]:
    """Take what arrived; return the names of the pieces that are missing, none if all is unpacked.

    Args:
        arrived: folder with the manifest and one or more pieces.
        home: directory that keeps the pieces in `pieces` and gets the packages in `site`.

    Raises:
        DamagedPieceError: a piece does not have the hash that it was packed with.
    """
    manifest: Manifest = json.loads((arrived / MANIFEST).read_text())
    kept = home / "pieces"
    kept.mkdir(parents=True, exist_ok=True)
    for name, digest in manifest.items():
        if (arrived / name).exists():
            _keep(arrived / name, kept / name, digest)
    missing = [name for name in manifest if not (kept / name).exists()]
    if not missing and not (home / "site").exists():
        _extract([kept / name for name in manifest], home)
    return missing


def _keep(source: Path, target: Path, digest: str) -> None:
    if hashlib.sha256(source.read_bytes()).hexdigest() != digest:
        raise DamagedPieceError(f"{source} is damaged, or of another packing: carry it again.")
    shutil.copy(source, target)


def _extract(pieces: list[Path], home: Path) -> None:
    half, joined = home / "site.part", home / "site.tar.xz"
    with joined.open("wb") as whole:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
    with lzma.open(joined) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        tar.extractall(half, filter="data")
    joined.unlink()
    half.rename(home / "site")
    # vLLM's start imports some thousand modules in each of its processes.
    compileall.compile_dir(home / "site", quiet=2, workers=0)
