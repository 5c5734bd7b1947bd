"""Options that every tier of tests understands."""

from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from scheduling import group_of

_HELPERS = {path.stem for path in Path(__file__).with_name("support").glob("*.py")}
# A failed assertion of a helper shows what was compared, as one of a test does.
pytest.register_assert_rewrite(*_HELPERS - {group_of.__module__})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`; the tests that compare with golden files read it."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="Write the golden files instead of failing where they differ; review the difference.",
    )
    parser.addoption(
        "--record-release",
        action="store_true",
        default=False,
        help="Write what the present version renders to tests/golden/released, for a release.",
    )
    parser.addoption(
        "--exhaustive",
        action="store_true",
        default=False,
        help="Inject every fault that tests/faults knows, and replace replicas in every way that"
        " tests/e2e knows, instead of a sample.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs `--exhaustive`."""
    if config.getoption("--exhaustive"):
        return
    left_out = [one for one in items if one.get_closest_marker("exhaustive")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [one for one in items if one not in left_out]


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps together what shares something that takes long to start, in `make test`."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of what has to run in one process."""
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduling:
    """Let the processes share the work; its groups do not depend on the order of hooks."""
    return _Scheduling(config, log)


def pytest_configure() -> None:
    """Let property tests take their time: on a busy machine any example can be slow once."""
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")
