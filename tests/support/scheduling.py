"""Which tests run in one process of `make test`, since they share what takes long to start."""

from pathlib import Path

SHARED_ENGINE = "the shared engine"
"""Group of the tests that use the fixture `shared_server`."""

OWN_SERVERS = "test_engine_own_servers.py"
"""Each test of this file starts a server of its own, so that each may run in another process."""

_FILES_WITH_SHARED_ENGINE = frozenset(
    {
        "test_engine_errors.py",
        "test_engine_gate.py",
        "test_engine_histories.py",
        "test_engine_hostile.py",
        "test_engine_request_lines.py",
        "test_engine_schema.py",
        "test_engine_supervision.py",
        "test_engine_workarounds.py",
        "test_examples_clients.py",
    }
)


def group_of(nodeid: str) -> str:
    """Return the name of what has to run in one process."""
    file = Path(nodeid.partition("::")[0])
    tier = file.parent.name
    if tier in {"cluster", "e2e", "faults"}:
        return tier
    if file.name in _FILES_WITH_SHARED_ENGINE:
        return SHARED_ENGINE
    return nodeid if file.name == OWN_SERVERS else str(file)
