"""Model information of the image, copied to vLLM's cache."""

import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mistral_server.engine.model_registry import ARCHITECTURES, LEARNED_ENV, copy_to_cache, learn


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    folder = tmp_path / "image" / "modelinfos"
    folder.mkdir(parents=True)
    (folder / "a-class.json").write_text("new")
    return folder.parent


class Registered:
    """One class of a registry, which writes its information as vLLM does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def inspect_model_cls(self) -> None:
        """Write a file for oneself only."""
        path = Path(os.environ["VLLM_CACHE_ROOT"], "modelinfos", f"{self.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)


def test_files_written_by_root_are_readable_for_the_user_of_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = SimpleNamespace(models={name: Registered(name) for name in ARCHITECTURES})
    models = SimpleNamespace(ModelRegistry=registry)
    monkeypatch.setitem(sys.modules, "vllm.model_executor.models", models)
    monkeypatch.setenv("VLLM_CACHE_ROOT", "/nonexistent")

    written = learn(tmp_path)

    assert {path.stem for path in written} == {*ARCHITECTURES}
    assert {path.stat().st_mode & 0o777 for path in written} == {0o644}


def test_the_images_model_information_is_copied_to_vllms_cache(
    learned: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    copy_to_cache({LEARNED_ENV: str(learned), "VLLM_CACHE_ROOT": str(cache)})

    (file,) = (cache / "modelinfos").iterdir()
    assert (file.name, file.read_text()) == ("a-class.json", "new")


def test_what_another_version_left_in_a_shared_cache_is_replaced(
    learned: Path, tmp_path: Path
) -> None:
    old = tmp_path / "cache" / "modelinfos" / "a-class.json"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    copy_to_cache({LEARNED_ENV: str(learned), "VLLM_CACHE_ROOT": str(tmp_path / "cache")})

    assert old.read_text() == "new"


def test_an_image_without_model_information_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    copy_to_cache({"VLLM_CACHE_ROOT": str(cache)})
    copy_to_cache({LEARNED_ENV: str(tmp_path / "missing"), "VLLM_CACHE_ROOT": str(cache)})

    assert not caplog.records


def test_an_unwritable_cache_is_logged_and_stops_nothing(
    learned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    cache.write_text("not a directory")
    with caplog.at_level(logging.WARNING):
        copy_to_cache({LEARNED_ENV: str(learned), "VLLM_CACHE_ROOT": str(cache)})

    assert "Cannot use the stored model information" in caplog.text
