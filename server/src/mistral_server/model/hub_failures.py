"""Why a model cannot be fetched, and the remedy. Nothing of a response or a request is quoted."""

import errno
import json
import ssl
from collections.abc import Iterator

from mistral_server.contract import FetchSettings


def explain(error: Exception, settings: FetchSettings) -> str:
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

    The client reports "cannot find the files in the local cache" for all unexpected responses.
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
