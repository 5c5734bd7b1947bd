"""Download a model once: ``mistral-server fetch``, run by a pod's init container.

The hub's own client downloads several files at a time, and skips those that are complete. This
module chooses the files, reports failures with a remedy, and writes a marker when all files are
complete. With the marker a restart needs no time and no network.
"""

import contextlib
import errno
import importlib
import json
import logging
import os
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mistral_server.contract import FetchSettings
from mistral_server.errors import ModelUnavailableError
from mistral_server.model import files as model_files

MARKER = ".mistral-fetched.json"
"""File with the settings whose files are complete in this directory."""

LOCK = ".mistral-fetch.lock"
"""File that is locked while this directory's files are fetched."""

PROGRESS_SECONDS = 10.0
"""Interval between progress lines in the pod's log. The client's own bars are for terminals."""

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


def fetch_model(settings: FetchSettings) -> None:
    """Ensure that the model's files are in the directory.

    Raises:
        ModelUnavailableError: they cannot be fetched; the message says what to change.
    """
    directory = Path(settings.directory)
    if _is_complete(directory, settings):
        _log.info("%s@%s is already present", settings.repository, settings.revision)
        return
    token = _token()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _lock(directory):
            # Another replica may have fetched it in the meantime.
            if not _is_complete(directory, settings):
                _fetch(directory, settings, token)
    except ModelUnavailableError:
        raise
    except Exception as error:  # the client raises a dozen kinds, of its own and of httpx
        # Without the cause: it may quote the request, and with it the token.
        raise ModelUnavailableError(_explain(error, settings)) from None


def _fetch(directory: Path, settings: FetchSettings, token: str) -> None:
    started = time.monotonic()
    _log.info("Fetching %s@%s to %s", settings.repository, settings.revision, directory)
    _remove_partial_files(directory)
    with _progress(directory):
        sizes = _download(directory, settings, token)
    if pattern := model_files.missing(directory, settings.format):
        raise ModelUnavailableError(
            f"The repository {settings.repository} contains no {pattern}, which the format "
            f"{settings.format} requires: choose another format or repository."
        )
    if incomplete := _incomplete(directory, sizes):
        raise ModelUnavailableError(
            f"{incomplete} of {settings.repository} is not complete: the hub stopped responding. "
            "Check that the pod can reach the hub, or serve the model from a volume."
        )
    (directory / MARKER).write_text(settings.model_dump_json(), encoding="utf-8")
    _log.info("Fetched %s in %.0f s", settings.repository, time.monotonic() - started)


def _remove_partial_files(directory: Path) -> None:
    """Remove what a fetch left that was killed: the hub's client neither resumes nor removes it.

    Files that grow are left alone: some filesystems grant the same lock to several nodes.
    """
    for path in (directory / _PARTIAL_FILES).glob("**/*.incomplete"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _PARTIAL_SECONDS:
                path.unlink()


def _incomplete(directory: Path, sizes: dict[str, int | None]) -> str | None:
    """Return the first file that is missing or has another size than on the hub, or None.

    If the hub fails before it has listed the files, its client takes a directory that has any file
    for a complete one.
    """
    for name, size in sizes.items():
        path = directory / name
        if not path.is_file() or (size is not None and path.stat().st_size != size):
            return name
    return None


def _is_complete(directory: Path, settings: FetchSettings) -> bool:
    try:
        return (directory / MARKER).read_text(encoding="utf-8") == settings.model_dump_json()
    except OSError:
        return False


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, so that one replica fetches and the others wait for it.

    The hub's client locks each file, but decides before that whether the file is missing: of two
    that decide at the same time, the second deletes what the first has fetched.
    """
    # Installed with the hub's client. The kernel releases the lock of a process that dies.
    filelock: Any = importlib.import_module("filelock")
    lock = filelock.FileLock(directory / LOCK, timeout=PROGRESS_SECONDS, poll_interval=1)
    while not lock.is_locked:
        try:
            lock.acquire()
        except filelock.Timeout:
            _log.info("Waiting for another replica that fetches to %s", directory)
    try:
        yield
    finally:
        lock.release()


def _download(directory: Path, settings: FetchSettings, token: str) -> dict[str, int | None]:
    """Download the files; return the size of each in bytes, None if the hub does not tell it."""
    scratch = directory / ".hub"
    # The client reads these on import. An image may be offline for the engine, and a pod's home is
    # read-only.
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HOME"] = str(scratch)
    # Installed with the engine; not a dependency of this package.
    hub: Any = importlib.import_module("huggingface_hub")
    allow, ignore = _FILES[settings.format]
    patterns = {"allow_patterns": allow, "ignore_patterns": [*ignore, *_HIDDEN]}
    repository = hub.model_info(
        settings.repository,
        revision=settings.revision,
        files_metadata=True,
        token=token or False,
    )
    hub.snapshot_download(
        settings.repository,
        # All files are of one commit, even if the branch moves.
        revision=repository.sha,
        local_dir=directory,
        token=token or False,
        **patterns,
    )
    shutil.rmtree(scratch, ignore_errors=True)
    sizes = {file.rfilename: file.size for file in repository.siblings or ()}
    return {name: sizes[name] for name in hub.utils.filter_repo_objects(sizes, **patterns)}


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


def _explain(error: Exception, settings: FetchSettings) -> str:
    """Return the failure and its remedy in one or two sentences."""
    what = f"{settings.repository}@{settings.revision}"
    error = _cause(error)
    kind = type(error).__name__
    status = _status(error)
    if kind == "RevisionNotFoundError":
        advice = "the revision does not exist: set an existing commit, tag or branch"
    elif kind == "GatedRepoError" or status in {401, 403}:
        advice = (
            "the hub denied access: accept the model's license on its page, set a token with read "
            "access (HF_TOKEN), and check the repository's name"
        )
    elif kind == "RepositoryNotFoundError" or status == 404:
        advice = "the repository does not exist on the hub: correct its name"
    elif status == 429:
        advice = "the hub limits the rate of requests: wait, or set a token (HF_TOKEN)"
    elif status is not None and status >= 500:
        advice = "the hub cannot answer now: wait, or serve the model from a volume"
    else:
        advice = _advice_without_response(error, settings.directory)
    return f"Cannot fetch {what}: {advice} ({kind}{_detail(error)})."


_VOLUME_ADVICE = {
    errno.ENOSPC: "the volume of {} is full: increase its size",
    errno.EDQUOT: "the volume of {} is full: increase its size",
    errno.EROFS: "{} is not writable: correct the volume's owner or mode",
    errno.EACCES: "{} is not writable: correct the volume's owner or mode",
    errno.EPERM: "{} is not writable: correct the volume's owner or mode",
    errno.EIO: "{} cannot be read or written: check the volume's storage",
}


def _advice_without_response(error: Exception, directory: str) -> str:
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                "the certificate of the hub is not trusted: set SSL_CERT_FILE to a file with its "
                "certificate authority, or use an image that trusts it"
            )
        if isinstance(cause, OSError) and cause.errno in _VOLUME_ADVICE:
            return _VOLUME_ADVICE[cause.errno].format(directory)
        if isinstance(cause, json.JSONDecodeError):
            return "the response is not JSON, so this is not a hub: correct its URL (HF_ENDPOINT)"
    return "check that the pod can reach the hub, or serve the model from a volume"


def _detail(error: BaseException) -> str:
    """Return the status of a response, or what the operating system says.

    Nothing else: the message of an error quotes the response, and users see it in the status. With
    an endpoint inside the cluster it would be the answer of a server that they cannot reach.
    """
    if (status := _status(error)) is not None:
        return f", status {status}"
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return f": {cause.reason}"
        if isinstance(cause, OSError) and cause.strerror:
            return f": {cause.strerror}"
    return ""


def _cause(error: Exception) -> Exception:
    """Return the hub's response behind `error`, or `error` itself if there was none.

    The client reports "cannot find the files in the local cache" for every unexpected response.
    """
    for cause in _chain(error):
        if isinstance(cause, Exception) and _status(cause) is not None:
            return cause
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


@contextlib.contextmanager
def _progress(directory: Path) -> Iterator[None]:
    """Log the size of the directory periodically while the block runs."""
    done = threading.Event()

    def log_progress() -> None:
        while not done.wait(PROGRESS_SECONDS):
            _log.info("Fetched %.1f GB so far", _size(directory) / 1e9)

    thread = threading.Thread(target=log_progress, name="fetch-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += Path(root, name).stat().st_blocks * 512  # files are allocated in advance
            except FileNotFoundError:
                continue  # renamed when it was complete
    return total
