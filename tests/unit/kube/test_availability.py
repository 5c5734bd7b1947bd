"""An API server that is away is said once, and said once when it is back."""

import logging

import pytest

from mistral_operator.kube.availability import Availability


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    clock, returns = _Clock(), list[str]()
    availability = Availability(lambda: returns.append("back"), clock)
    availability.answered()
    with caplog.at_level(logging.DEBUG):
        for clock.now in (10.0, 20.0, 30.0):
            availability.failed(ConnectionRefusedError("refused"))
        assert availability.problem == "the API server has not answered for 20 seconds"
        clock.now = 52.0
        availability.answered()
        availability.answered()

    assert caplog.messages == [
        "the API server does not answer (ConnectionRefusedError: refused); waiting for it",
        "the API server answers again after 42 seconds",
    ]
    assert returns == ["back"]
    assert availability.problem is None


def test_before_the_first_answer_it_is_not_reachable() -> None:
    availability = Availability()

    assert not availability.reachable
    assert availability.problem == "the API server has not been reached yet"
