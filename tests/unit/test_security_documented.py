"""docs/security.md names tests that exist, and no more cases than they have."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from mistral_dev.paths import CHECKOUT

TABLE = (CHECKOUT / "docs" / "security.md").read_text().split("## Attacks and what holds")[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| kind")
]
TESTS = {row[0]: re.findall(r"`(tests/[^`]+)`", row[3]) for row in ROWS}


@pytest.fixture(scope="module")
def collected() -> Counter[str]:
    """Return the number of cases of each file that the table names."""
    files = sorted({file for files in TESTS.values() for file in files})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Counter(line.split("::")[0] for line in done.stdout.splitlines() if "::" in line)


def test_the_table_has_every_kind() -> None:
    assert len(ROWS) == len(TESTS) == 21
    assert all(len(row) == 5 for row in ROWS)


def test_each_kind_has_as_many_cases_as_the_table_says(collected: Counter[str]) -> None:
    counts = {kind: sum(collected[file] for file in files) for kind, files in TESTS.items()}
    documented = {row[0]: int(row[4]) for row in ROWS}

    assert {kind: count for kind, count in counts.items() if count < documented[kind]} == {}
    # Far more cases than documented: the table is out of date.
    assert {kind: count for kind, count in counts.items() if count > 2 * documented[kind]} == {}
