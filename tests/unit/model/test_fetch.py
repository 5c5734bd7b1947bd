"""A token of the hub is used, and never shown, whatever the hub's client raises."""

import errno
import json
import ssl
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mistral_server.contract import FetchSettings
from mistral_server.errors import ModelUnavailableError
from mistral_server.model import fetch, marker
from mistral_server.model.marker import MARKER, HubFile

TOKEN = "hf_canary0123456789"  # noqa: S105  # a canary, no secret


class RevisionNotFoundError(Exception):
    """The error of the client that has this name."""


class Hub(ModuleType):
    """A client of the hub that fails with what it was called with."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("huggingface_hub")
        self.error = error
        self.tokens: list[str | bool] = []
        self.skipped: list[str] = []
        self.revisions: list[str] = []
        self.gone: set[str] = set()
        self.utils = SimpleNamespace(filter_repo_objects=lambda files, **_: [*files])

    def model_info(
        self, _repository: str, *, token: str | bool, revision: str, **_: Any
    ) -> SimpleNamespace:
        """Return a repository without files."""
        self.tokens.append(token)
        self.revisions.append(revision)
        if revision in self.gone:
            raise RevisionNotFoundError
        return SimpleNamespace(sha="0" * 40, siblings=None)

    def snapshot_download(
        self, _repository: str, *, token: str | bool, ignore_patterns: list[str], **_: Any
    ) -> None:
        """Fail as the real client does: with the request in the message."""
        self.tokens.append(token)
        self.skipped = ignore_patterns
        raise self.error or RuntimeError(f"refused {token!r}")


@pytest.fixture
def settings(tmp_path: Path) -> FetchSettings:
    return FetchSettings(
        repository="mistralai/small",
        revision="main",
        directory=str(tmp_path / "model"),
        format="mistral",
    )


def failure(monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, hub: Hub) -> str:
    """Return what a failed fetch reports."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(ModelUnavailableError) as raised:
        fetch.fetch_model(settings)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value)


@pytest.mark.parametrize("written", ["{}", "{}\n", "{}\r\n", " {}", "\t{} \n"])
def test_space_around_the_token_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, written: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", written.format(TOKEN))
    hub = Hub()

    message = failure(monkeypatch, settings, hub)

    assert hub.tokens == [TOKEN, TOKEN]
    assert TOKEN not in message


@pytest.mark.parametrize("written", ["a\nb", "a b", "a\u200bb", "a\x7f", "\u00e9"])
def test_a_token_that_no_header_can_hold_is_refused_without_quoting_it(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, written: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}{written}")
    hub = Hub()

    message = failure(monkeypatch, settings, hub)

    assert hub.tokens == []
    assert TOKEN not in message
    assert "create the Secret again" in message


def test_without_a_token_none_is_sent(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    hub = Hub()

    failure(monkeypatch, settings, hub)

    assert hub.tokens == [False, False]


def test_a_token_is_not_sent_in_clear_text(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "HTTP://mirror.example")
    hub = Hub()

    assert "set an https:// URL as HF_ENDPOINT" in failure(monkeypatch, settings, hub)
    assert hub.tokens == []


class Response(Exception):
    """A response of a server, as the client raises it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status}: internal-secret-body, X-Error-Message: internal-secret-header")
        self.response = SimpleNamespace(status_code=status)


UNREACHABLE = OSError(111, "Connection refused")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (Response(404), "(Response, status 404)"),
        (Response(500), "(Response, status 500)"),
        (UNREACHABLE, "(ConnectionRefusedError: Connection refused)"),
        (RuntimeError("illegal status line: internal-secret-body"), "(RuntimeError)"),
        (RuntimeError("https://me:internal-secret@mirror.example/api"), "(RuntimeError)"),
    ],
    ids=str,
)
def test_of_a_response_only_the_status_is_reported(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, error: Exception, shown: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")

    message = failure(monkeypatch, settings, Hub(error=error))

    assert shown in message
    assert "internal-secret" not in message


def test_the_cause_of_an_unreachable_hub_is_reported(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    outer = RuntimeError("cannot find the files in the cache")
    outer.__cause__ = UNREACHABLE

    message = failure(monkeypatch, settings, Hub(error=outer))

    assert "(RuntimeError: Connection refused)" in message


@pytest.mark.parametrize("form", ["mistral", "huggingface"])
@pytest.mark.parametrize("name", [MARKER, ".hub/token", ".cache/huggingface/a.json", "a/.b"])
def test_a_repository_cannot_bring_the_files_that_say_what_was_fetched(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, name: str, form: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    hub = Hub()

    failure(monkeypatch, settings.model_copy(update={"format": form}), hub)

    # As the client does: https://huggingface.co/docs/huggingface_hub/guides/download
    assert any(fnmatch(name, pattern) for pattern in hub.skipped)
    assert not any(fnmatch("tekken.json", pattern) for pattern in hub.skipped)


def chained(cause: Exception) -> Exception:
    """Return what the client raises for an error below it."""
    error = RuntimeError("cannot find the files in the cache")
    error.__cause__ = cause
    return error


UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.reason = "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Response(401), "accept the model's license"),
        (Response(404), "the repository does not exist on the hub"),
        (Response(429), "wait, or set a token (HF_TOKEN)"),
        (Response(500), "the hub cannot answer now: wait"),
        (Response(503), "the hub cannot answer now: wait"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full: increase its size"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full: increase its size"),
        (OSError(errno.EROFS, "Read-only file system"), "is not writable"),
        (PermissionError(errno.EACCES, "Permission denied"), "is not writable"),
        (OSError(errno.EIO, "Input/output error"), "check the volume's storage"),
        (
            json.JSONDecodeError("Expecting value", "<html>", 0),
            "not a hub: correct its URL",
        ),
        (UNTRUSTED, "set SSL_CERT_FILE to a file with its certificate authority"),
        (UNREACHABLE, "check that the pod can reach the hub"),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_failure_has_a_remedy_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    settings: FetchSettings,
    error: Exception,
    advice: str,
    wrapped: bool,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")

    assert advice in failure(monkeypatch, settings, Hub(chained(error) if wrapped else error))


@pytest.mark.parametrize(
    ("gone", "requested"), [(set(), ["c0ffee"]), ({"c0ffee"}, ["c0ffee", "main"])]
)
def test_a_damaged_model_is_repaired_from_its_own_commit(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings, gone: set[str], requested: list[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    directory = Path(settings.directory)
    directory.mkdir()
    files = {"params.json": HubFile(2), "consolidated.safetensors": HubFile(7)}
    for name, file in files.items():
        (directory / name).write_bytes(b"x" * (file.size or 0))
    marker.write(directory, settings, "c0ffee", files)
    (directory / "consolidated.safetensors").write_bytes(b"cut")
    hub = Hub()
    hub.gone = gone

    failure(monkeypatch, settings, hub)

    assert hub.revisions == requested, "the branch may have moved"
    assert not (directory / "consolidated.safetensors").exists()
    assert (directory / "params.json").exists()
