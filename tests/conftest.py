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


def pytest_configure() -> None:
    """Let property tests take their time: on a busy machine any example can be slow once."""
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")
