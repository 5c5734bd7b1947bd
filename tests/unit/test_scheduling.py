"""Tests that share what takes long to start run in one process of `make test`."""

from pathlib import Path

import pytest

from scheduling import OWN_SERVERS, SHARED_ENGINE, group_of

TESTS = Path(__file__).parents[1]


def files(folder: str) -> list[Path]:
    return sorted((TESTS / folder).rglob("test_*.py"))


def nodeid(file: Path, test: str = "test_it") -> str:
    return f"{file.relative_to(TESTS.parent)}::{test}"


@pytest.mark.parametrize("folder", ["cluster", "e2e", "faults"])
def test_a_tier_with_one_cluster_is_one_group(folder: str) -> None:
    assert {group_of(nodeid(file)) for file in files(folder)} == {folder}


def test_the_users_of_the_shared_engine_are_one_group_and_nothing_else_is_in_it() -> None:
    grouped = [file.name for file in files("") if group_of(nodeid(file)) == SHARED_ENGINE]

    users = [file.name for file in files("engine") if "shared_server" in file.read_text()]
    assert grouped == users


def test_tests_with_their_own_servers_are_groups_of_their_own() -> None:
    (file,) = (file for file in files("") if file.name == OWN_SERVERS)

    assert group_of(nodeid(file, "test_a")) != group_of(nodeid(file, "test_b"))


@pytest.mark.parametrize("folder", ["chart", "golden", "unit"])
def test_every_other_file_is_a_group_whatever_other_folders_call_theirs(folder: str) -> None:
    groups = {group_of(nodeid(file)) for file in files(folder)}

    assert groups == {str(file.relative_to(TESTS.parent)) for file in files(folder)}
