"""An outage of the API server is logged once, and so is its end."""

import logging

import pytest

from mistral_operator.kube.availability import Availability


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_and_its_end_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    clock, recoveries = _Clock(), list[str]()
    availability = Availability(lambda: recoveries.append("recovered"), clock)
    availability.record_response()
    with caplog.at_level(logging.DEBUG):
        for clock.now in (10.0, 20.0, 30.0):
            availability.record_failure(ConnectionRefusedError("refused"))
        assert availability.problem == "the API server has not answered for 20 seconds"
        clock.now = 52.0
        availability.record_response()
        availability.record_response()

    assert caplog.messages == [
        "the API server does not answer (ConnectionRefusedError: refused); waiting for it",
        "the API server answers again after 42 seconds",
    ]
    assert recoveries == ["recovered"]
    assert availability.problem is None


def test_the_api_server_is_not_reachable_before_the_first_response() -> None:
    availability = Availability()

    assert not availability.reachable
    assert availability.problem == "the API server has not been reached yet"
