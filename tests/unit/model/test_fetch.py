"""A token of the hub is used, and never shown, whatever the hub's client raises."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mistral_server.contract import FetchSettings
from mistral_server.errors import ModelUnavailableError
from mistral_server.model import fetch

TOKEN = "hf_canary0123456789"  # noqa: S105  # a canary, no secret


class Hub(ModuleType):
    """A client of the hub that fails with what it was called with."""

    def __init__(self, message: str = "refused {token!r}") -> None:
        super().__init__("huggingface_hub")
        self.message = message
        self.tokens: list[str | bool] = []

    def snapshot_download(self, _repository: str, *, token: str | bool, **_: Any) -> None:
        """Fail as the real client does: with the request in the message."""
        self.tokens.append(token)
        raise RuntimeError(self.message.format(token=token))


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

    assert hub.tokens == [TOKEN]
    assert TOKEN not in message
    assert "[token]" in message


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

    assert hub.tokens == [False]


def test_a_password_in_a_url_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, settings: FetchSettings
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    hub = Hub("cannot reach https://me:hunter2@mirror.example/api")

    message = failure(monkeypatch, settings, hub)

    assert "hunter2" not in message
    assert "https://[credentials]@mirror.example/api" in message
