"""Records what a release renders, if asked to."""

import tomllib

import pytest

from golden_cases import cases
from mistral_dev.paths import CHECKOUT
from released_templates import RELEASED, AlreadyRecorded, record


def pytest_configure(config: pytest.Config) -> None:
    """Write the folder of the present version before the tests compare with it."""
    if not config.getoption("--record-release", default=False):
        return
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    try:
        record(RELEASED / project["version"], cases().values())
    except AlreadyRecorded as error:
        raise pytest.UsageError(str(error)) from error
