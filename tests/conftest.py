"""Options that every tier of tests understands."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`; the tests that compare with golden files read it."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="Write the golden files instead of failing where they differ; review the difference.",
    )
