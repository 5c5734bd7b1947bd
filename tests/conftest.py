"""Options that every tier of tests understands."""

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`; the tests that compare with golden files read it."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="Write the golden files instead of failing where they differ; review the difference.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares something that takes long to start, when tests run side by side.

    Whoever uses one server, or one cluster, runs in one process; a server of a test's own may run
    beside it; all other tests go file by file.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", ())
    if {"start_server", "two_api_servers"} & set(fixtures):
        return item.nodeid
    if "shared_server" in fixtures:
        return "shared_server"
    tier = item.path.parent.name
    return tier if tier in {"cluster", "e2e"} else item.nodeid.partition("::")[0]


def pytest_configure() -> None:
    """Let property tests take their time: on a busy machine any example can be slow once."""
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")
