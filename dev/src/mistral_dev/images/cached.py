"""Content keys, and a directory or file that is made once for each key.

Called by every module of this package that makes something expensive. A key is a short hash of
everything that decides the result, so a change of any input makes a new name and the old one stays
usable by processes that still use it.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mistral_dev.paths import locked

KEY_LENGTH = 12
"""Hex digits: 48 bits, plenty for a cache that holds some ten entries."""

MARKER = ".complete"
"""The file that marks a directory as complete."""


def key_of(parts: Iterable[str | bytes | Path]) -> str:
    """Hash texts, bytes, files and directories (names and contents) into one key."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "big"))
            digest.update(piece)
    return digest.hexdigest()[:KEY_LENGTH]


def _pieces(part: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(part, str):
        yield part.encode()
    elif isinstance(part, bytes):
        yield part
    elif part.is_dir():
        for path in source_files(part):
            yield path.relative_to(part).as_posix().encode()
            yield path.read_bytes()
    else:
        yield part.read_bytes()


def source_files(root: Path) -> list[Path]:
    """Regular files below ``root`` in a stable order, without what Python and tools leave there."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def directory(path: Path, make: Callable[[Path], None]) -> Path:
    """Return ``path``, filled by ``make(path)`` unless an earlier call completed it.

    Concurrent calls for the same directory are serialized; a partial directory of a killed process
    is deleted first. The directory is made in place, because virtual environments contain their own
    path.
    """
    if _is_complete(path):
        return path
    with locked(path.with_name(f".{path.name}.lock")):
        if not _is_complete(path):
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(parents=True)
            make(path)
            (path / MARKER).touch()
    return path


def file(path: Path, make: Callable[[Path], None]) -> Path:
    """Return ``path``, written by ``make(temporary)`` and renamed unless it is there already."""
    if path.exists():
        return path
    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            temporary = path.with_name(f"{path.name}.part")
            make(temporary)
            temporary.replace(path)
    return path


def _is_complete(path: Path) -> bool:
    return (path / MARKER).exists()
