"""Which faults a run of the tests injects: a sample in `make test`, all in `make test-faults`."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest


def cases(
    names: Iterable[str], sample: Collection[str], violated: Mapping[str, str] | None = None
) -> list[Any]:
    """Return parameters; those that are not in the sample need `--exhaustive`.

    Args:
        names: of all cases.
        sample: those of `make test`.
        violated: cases that fail today, each with the reason.
    """

    def marks_of(name: str) -> list[pytest.MarkDecorator]:
        marks = [] if name in sample else [pytest.mark.exhaustive]
        if violated and name in violated:
            marks.append(pytest.mark.xfail(strict=True, reason=violated[name]))
        return marks

    return [pytest.param(one, marks=marks_of(one)) for one in names]


def selected(request: pytest.FixtureRequest, parameter: str) -> set[Any]:
    """Return the values of a parameter in the selected tests of the present module."""
    return {
        item.callspec.params[parameter]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and parameter in item.callspec.params
    }


def is_exhaustive(request: pytest.FixtureRequest) -> bool:
    """Return whether every fault is injected."""
    return bool(request.config.getoption("--exhaustive"))
