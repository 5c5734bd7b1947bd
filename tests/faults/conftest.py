"""A real API server with its controllers and fake nodes, reached by operators through proxies."""

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from fault_api import Api
from mistral_dev.cluster import Cluster
from mistral_dev.resource_definitions import until_established
from mistral_dev.settings import Profile
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.api.yaml_documents import to_yaml

_ROW = "row of the table of faults"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: one row for each fault."""
    reports = [
        report
        for outcome in ("passed", "failed", "xfailed")
        for report in terminalreporter.getreports(outcome)
    ]
    rows = [
        f"{report.nodeid.rpartition('/')[2].partition('.')[0]:<14} {report.outcome:<8} {value}"
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key == _ROW
    ]
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(sorted(rows)))


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Return a function that adds a row to the table of faults."""
    return lambda value: record_property(_ROW, str(value))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster without an operator."""
    name = f"faults-{os.getpid()}"
    directory = tmp_path_factory.mktemp("cluster")
    with Cluster(name, Profile.CONTROL_PLANE, state_dir=directory / name, audit=True) as made:
        made.add_fake_nodes(8)
        made.kubectl("apply", "-f", "-", text=to_yaml(custom_resource_definition()))
        until_established(made)
        yield made


@pytest_asyncio.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """Return the API server as users see it."""
    async with Api(cluster) as made:
        yield made
