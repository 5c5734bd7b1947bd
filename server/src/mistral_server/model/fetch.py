"""Download a model once: ``mistral-server fetch``, run by a pod's init container.

The hub's own client downloads several files at a time, and skips those that are complete. This
module chooses the files, reports failures with a remedy, and writes a marker when all files are
complete. With the marker a restart needs no time and no network, and finds files that are damaged.
"""

import contextlib
import importlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mistral_server.contract import FetchSettings
from mistral_server.errors import ModelUnavailableError
from mistral_server.model import files as model_files
from mistral_server.model import marker
from mistral_server.model.hub_failures import explain
from mistral_server.model.marker import HubFile
from mistral_server.model.progress import LOG_SECONDS, Progress

LOCK = ".mistral-fetch.lock"
"""File that is locked while this directory's files are fetched."""

# Mistral's repositories contain their weights twice, 48 GB each: consolidated*.safetensors beside
# params.json in Mistral's own format, model-0000*.safetensors beside config.json in the other.
_FILES: dict[str, tuple[list[str], list[str]]] = {
    "mistral": (
        ["*.json", "consolidated*.safetensors", "SYSTEM_PROMPT.txt"],
        ["*.index.json"],
    ),
    "huggingface": (
        ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"],
        ["consolidated*", "params.json"],
    ),
}
"""Patterns of the files to fetch and of those to skip, by format."""

_HIDDEN = [".*", "*/.*"]
"""Never fetched: the marker and the notes of the hub's client are hidden files of this directory,
and a repository must not bring its own."""

_PARTIAL_FILES = ".cache/huggingface/download"
"""Where the hub's client keeps the files that it has not completed."""

_PARTIAL_SECONDS = 60.0
"""Time after which a file that does not grow is no longer written."""

_log = logging.getLogger(__name__)


def fetch_model(settings: FetchSettings, progress: Progress | None = None) -> None:
    """Ensure that the model's files are in the directory.

    Args:
        settings: what to fetch.
        progress: is kept up to date.

    Raises:
        ModelUnavailableError: they cannot be fetched; the message says what to change.
    """
    directory = Path(settings.directory)
    if marker.is_complete(directory, settings):
        _log.info("%s@%s is already present", settings.repository, settings.revision)
        return
    token = _token()
    progress = progress or Progress(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with progress.measured(), _lock(directory):
            # Another replica may have fetched it in the meantime.
            if not marker.is_complete(directory, settings):
                _fetch(directory, settings, token, progress)
    except ModelUnavailableError:
        raise
    except Exception as error:  # the client raises a dozen kinds, of its own and of httpx
        # Without the cause: it may quote the request, and with it the token.
        raise ModelUnavailableError(explain(error, settings)) from None


def _fetch(directory: Path, settings: FetchSettings, token: str, progress: Progress) -> None:
    started = time.monotonic()
    _log.info("Fetching %s@%s to %s", settings.repository, settings.revision, directory)
    _remove_partial_files(directory)
    before = marker.remove_damaged(directory, settings)
    with _hub(directory) as hub:
        commit, files = _listed(hub, settings, before.commit if before else "", token)
        progress.total = _total(files)
        _download(hub, directory, settings, commit, token)
    if pattern := model_files.missing(directory, settings.format):
        raise ModelUnavailableError(
            f"The repository {settings.repository} contains no {pattern}, which the format "
            f"{settings.format} requires: choose another format or repository."
        )
    if incomplete := marker.first_incomplete(directory, files):
        raise ModelUnavailableError(
            f"{incomplete} of {settings.repository} is not complete: the hub stopped responding. "
            "Check that the pod can reach the hub, or serve the model from a volume."
        )
    marker.write(directory, settings, commit, files)
    _log.info("Fetched %s in %.0f s", settings.repository, time.monotonic() - started)


def _remove_partial_files(directory: Path) -> None:
    """Remove what a fetch left that was killed: the hub's client neither resumes nor removes it.

    Files that grow are left alone: some filesystems grant the same lock to several nodes.
    """
    for path in (directory / _PARTIAL_FILES).glob("**/*.incomplete"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _PARTIAL_SECONDS:
                path.unlink()


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, so that one replica fetches and the others wait for it.

    The hub's client locks each file, but decides before that whether the file is missing: of two
    that decide at the same time, the second deletes what the first has fetched.
    """
    # Installed with the hub's client. The kernel releases the lock of a process that dies.
    filelock: Any = importlib.import_module("filelock")
    lock = filelock.FileLock(directory / LOCK, timeout=LOG_SECONDS, poll_interval=1)
    while not lock.is_locked:
        try:
            lock.acquire()
        except filelock.Timeout:
            _log.info("Waiting for another replica that fetches to %s", directory)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _hub(directory: Path) -> Iterator[Any]:
    """Return the hub's client, which may write to a directory of its own meanwhile."""
    scratch = directory / ".hub"
    # The client reads these on import. An image may be offline for the engine, and a pod's home is
    # read-only.
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HOME"] = str(scratch)
    # Installed with the engine; not a dependency of this package.
    yield importlib.import_module("huggingface_hub")
    shutil.rmtree(scratch, ignore_errors=True)


def _listed(
    hub: Any, settings: FetchSettings, commit: str, token: str
) -> tuple[str, dict[str, HubFile]]:
    """Return the commit and its files as the hub lists them.

    A damaged copy is repaired from the commit that it was fetched from, even if the branch moved:
    other replicas may be reading the files.
    """
    ask = {"files_metadata": True, "token": token or False}
    try:
        match = hub.model_info(settings.repository, revision=commit or settings.revision, **ask)
    except Exception as error:
        if not commit or type(error).__name__ != "RevisionNotFoundError":
            raise
        match = hub.model_info(settings.repository, revision=settings.revision, **ask)
    files = {file.rfilename: HubFile.of(file) for file in match.siblings or ()}
    chosen = hub.utils.filter_repo_objects(files, **_patterns(settings))
    return match.sha, {name: files[name] for name in chosen}


def _patterns(settings: FetchSettings) -> dict[str, list[str]]:
    allow, ignore = _FILES[settings.format]
    return {"allow_patterns": allow, "ignore_patterns": [*ignore, *_HIDDEN]}


def _total(files: dict[str, HubFile]) -> int | None:
    """Return the size of all files, None if the hub does not tell it."""
    sizes = [file.size for file in files.values() if file.size is not None]
    return sum(sizes) if len(sizes) == len(files) else None


def _download(hub: Any, directory: Path, settings: FetchSettings, commit: str, token: str) -> None:
    hub.snapshot_download(
        settings.repository,
        # All files are of one commit, even if the branch moves.
        revision=commit,
        local_dir=directory,
        token=token or False,
        **_patterns(settings),
    )


def _token() -> str:
    """Return the hub's token without surrounding space, empty if there is none.

    A Secret that was created from a file ends in a newline. An HTTP client refuses such a header
    and quotes it, token included.

    Raises:
        ModelUnavailableError: it contains what a header cannot.
    """
    token = os.environ.get("HF_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ModelUnavailableError(
            "The token of the hub (HF_TOKEN) contains spaces or characters other than printable "
            "ASCII: create the Secret again from the token alone."
        )
    if token and os.environ.get("HF_ENDPOINT", "").lower().startswith("http://"):
        raise ModelUnavailableError(
            "The token of the hub (HF_TOKEN) is not sent in clear text: set an https:// URL as "
            "HF_ENDPOINT, or remove the token."
        )
    return token
