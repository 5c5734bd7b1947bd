"""Which mistral-common goes with which vLLM."""

import sys
from pathlib import Path

import pytest

from mistral_server.engine.compatibility import (
    check_speculation,
    check_versions,
    installed_versions,
)
from mistral_server.errors import IncompatibleVersionsError


@pytest.mark.parametrize(
    ("vllm", "mistral_common"),
    [
        ("0.24.0", "1.12.0"),
        ("0.26.0", "1.12.0"),
        ("0.32.0", "1.11.6"),
        ("0.32.0+cpu", "1.12.3"),
        ("0.32.1rc1", "1.11.7"),
        ("0.33.0", "1.12.0"),
        ("1.0.0", "1.12.0"),
    ],
)
def test_a_pair_that_works_passes(vllm: str, mistral_common: str) -> None:
    check_versions(vllm, mistral_common)


@pytest.mark.parametrize(
    ("vllm", "mistral_common", "says"),
    [
        ("0.32.0", "1.13.0", r'install "mistral-common>=1.11.6,<1.13"'),
        ("0.33.0", "1.13.1", r'install "mistral-common>=1.11.6,<1.13"'),
        ("0.32.0", "1.11.5", r'install "mistral-common>=1.11.6,<1.13"'),
        ("0.26.0", "2.0", r'install "mistral-common>=1.11.5,<1.13"'),
        ("0.17.1", "1.12.0", "older than 0.24"),
        ("0.18.0", "1.12.0", "older than 0.24"),
        ("0.19.1", "1.12.0", "older than 0.24"),
        ("0.23.1", "1.12.0", "older than 0.24"),
        ("unknown", "1.12.0", "older than 0.24"),
    ],
)
def test_a_pair_that_does_not_work_is_refused_with_what_to_install(
    vllm: str, mistral_common: str, says: str
) -> None:
    with pytest.raises(IncompatibleVersionsError, match=says):
        check_versions(vllm, mistral_common)


def test_a_missing_engine_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        IncompatibleVersionsError, match="is not installed: use an image that contains vLLM"
    ):
        installed_versions()


@pytest.mark.parametrize(
    ("modules", "speculates", "passes"),
    [(("numba",), True, True), ((), False, True), ((), True, False)],
    ids=["with numba", "without speculation", "without numba"],
)
def test_speculation_without_its_package_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    modules: tuple[str, ...],
    speculates: bool,
    passes: bool,
) -> None:
    for module in modules:
        (tmp_path / f"{module}.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    if passes:
        check_speculation(speculates=speculates)
    else:
        with pytest.raises(
            IncompatibleVersionsError,
            match="requires the package numba: use an image that contains it, or remove",
        ):
            check_speculation(speculates=speculates)
