"""The note that a model is complete, and whether it still is.

The marker has the size of each file, and its hash where the hub tells it. Sizes are compared at
each start, which takes no time. Hashes are compared on demand: that reads the whole model.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mistral_server.contract import FetchSettings
from mistral_server.model import files as model_files

MARKER = ".mistral-fetched.json"
"""File that says which files are complete in this directory."""

_MAX_BYTES = 1_000_000
"""Longer markers are not read: pods that share a volume can write anything."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """One file as the hub lists it."""

    size: int | None = None
    """In bytes."""
    sha256: str | None = None
    """Of a large file: the hub has no hash of the others' content."""

    @classmethod
    def of(cls, sibling: Any) -> Self:
        """Return a file of the hub's client."""
        sha256 = getattr(getattr(sibling, "lfs", None), "sha256", None)
        return cls(sibling.size, sha256 if isinstance(sha256, str) else None)


@dataclass(frozen=True)
class Marker:
    """What is complete in a directory."""

    commit: str = ""
    """Commit of the files; empty in a marker of an older version."""
    files: Mapping[str, HubFile] = field(default_factory=dict)
    """Files by path; none in a marker of an older version."""


def is_complete(directory: Path, settings: FetchSettings) -> bool:
    """Return whether the model is there and undamaged."""
    complete = read(directory, settings)
    if complete is None:
        return False
    for problem in _damage(directory, settings, complete):
        _log.warning("%s of %s is damaged: fetching it again", problem, settings.repository)
        return False
    return True


def read(directory: Path, settings: FetchSettings) -> Marker | None:
    """Return the marker of this model in a directory, None if it was not complete."""
    try:
        with (directory / MARKER).open("rb") as file:
            document = json.loads(file.read(_MAX_BYTES))
        desired = _identity(settings)
        if {name: document.get(name) for name in desired} != desired:
            return None
        files = {
            str(name): HubFile(int(one["size"]), one.get("sha256"))
            for name, one in document.get("files", {}).items()
            if _is_within(str(name))
        }
        return Marker(str(document.get("commit", "")), files)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None


def write(
    directory: Path, settings: FetchSettings, commit: str, files: Mapping[str, HubFile]
) -> None:
    """Note that these files are complete."""
    sizes = {name: (directory / name).stat().st_size for name in files}
    document = {
        **_identity(settings),
        "commit": commit,
        "files": {
            name: asdict(HubFile(sizes[name], one.sha256)) for name, one in sorted(files.items())
        },
    }
    new = directory / f"{MARKER}.new"
    new.write_text(json.dumps(document, indent=1), encoding="utf-8")
    new.replace(directory / MARKER)  # a pod may be killed while it writes


def remove_damaged(directory: Path, settings: FetchSettings) -> Marker | None:
    """Remove the damaged files of a model that was complete, and return its marker.

    The hub's client compares only times with its notes: it would keep a damaged file.
    """
    complete = read(directory, settings)
    if complete is None:
        return None
    for name in list(_damage(directory, settings, complete)):
        if name in complete.files:
            (directory / name).unlink(missing_ok=True)
    (directory / MARKER).unlink(missing_ok=True)
    return complete


def first_incomplete(directory: Path, files: Mapping[str, HubFile]) -> str | None:
    """Return the first file that is missing or has another size than on the hub, or None.

    If the hub fails before it has listed the files, its client takes a directory that has any file
    for a complete one.
    """
    return next(_of_other_size(directory, files), None)


def _damage(directory: Path, settings: FetchSettings, complete: Marker) -> Iterator[str]:
    """Yield the files that are missing or damaged."""
    damaged = set(_of_other_size(directory, complete.files))
    yield from sorted(damaged)
    if pattern := model_files.missing(directory, settings.format):
        yield pattern
    if settings.verify == "Hashes":
        for name, file in complete.files.items():
            if name not in damaged and not _has_hash(directory / name, file.sha256):
                yield name


def _of_other_size(directory: Path, files: Mapping[str, HubFile]) -> Iterator[str]:
    for name, file in files.items():
        path = directory / name
        if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            yield name


def _has_hash(path: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return True
    _log.info("Comparing the hash of %s", path.name)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _identity(settings: FetchSettings) -> dict[str, str]:
    """Return what a marker is about; the marker of an older version has these fields too."""
    return settings.model_dump(include={"repository", "revision", "format"})


def _is_within(name: str) -> bool:
    """Return whether a path of a marker stays in the directory."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts
