"""A slice that lists a pod of another endpoint: its gate refuses, and the activator believes it."""

import asyncio
import logging

import pytest

from activator_in_process import Replica, activator, counted, error_of
from builders import NAME, NAMESPACE
from endpoint_slices import KEY, TERMS, slice_body
from mistral_operator.activator.endpoints import Endpoint
from mistral_operator.activator.headers import headers_to_replica
from mistral_server.contract import ENDPOINT_HEADER

OWN = f"{NAMESPACE}/{NAME}"
MINE, FOREIGN = "10.0.0.1:8000", "10.9.9.9:8000"


@pytest.mark.parametrize(
    "names",
    [[], ["X-Mistral-Endpoint"], ["x-mistral-endpoint", "X-MISTRAL-ENDPOINT"]],
    ids=["none", "one", "two"],
)
async def test_the_activator_names_the_endpoint_whatever_a_client_says(names: list[str]) -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)

        await made.post(headers=[(one, "team-b/victim") for one in names])

        (received,) = replica.received
        assert received.headers.getall(ENDPOINT_HEADER) == [OWN]


def test_a_client_cannot_have_the_name_removed_as_a_header_of_its_connection() -> None:
    headers = {"Connection": "X-Mistral-Endpoint", "X-Mistral-Endpoint": "team-b/victim"}

    assert headers_to_replica(headers, KEY, None) == [(ENDPOINT_HEADER, OWN)]


async def test_a_pod_of_another_endpoint_gets_one_request_and_no_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = counted("misdirected")
    async with (
        activator() as made,
        Replica(status=421).serving() as victim,
        Replica().serving() as replica,
    ):
        made.make_ready(victim)

        with caplog.at_level(logging.WARNING):
            status, headers, body = await made.post()
        pending = asyncio.create_task(made.post())
        await made.until_queued(1)

        assert (status, error_of(body)["code"]) == (502, "misdirected")
        assert headers["Retry-After"] == "5"
        assert len(victim.received) == 1
        (line,) = [one.message for one in caplog.records if "belongs to another" in one.message]
        assert line.startswith(f"{OWN}: 127.0.0.1:{victim.port} ")
        made.make_ready(replica)
        assert (await pending)[0] == 201
    assert counted("misdirected") == before + 1


async def test_other_replicas_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        activator() as made,
        Replica(status=421).serving() as victim,
        Replica().serving() as replica,
    ):
        made.make_ready(replica)
        made.see(slice_body("127.0.0.1", port=victim.port, name="forged", uid="forged"))

        statuses = [(await made.post())[0] for _ in range(6)]

        assert sorted(statuses) == [*[201] * 5, 502]


async def test_what_another_endpoint_answers_teaches_no_key() -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        replica.status = 421
        made.make_ready(replica)

        await made.post(headers={"Authorization": "Bearer key"})

        assert not made.endpoint.accepted_keys


class Listed:
    """An endpoint with a replica and a pod of another endpoint in its slices, and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.endpoint = Endpoint(KEY, TERMS, 20_000, clock=lambda: self.now)
        self.see(MINE, FOREIGN)
        self.endpoint.disbelieve(FOREIGN)

    def see(self, *targets: str) -> None:
        """Let the slices have these targets."""
        self.endpoint.update(targets)


def test_a_pod_of_another_endpoint_is_not_tried_again_however_often_its_slice_is_written() -> None:
    listed = Listed()
    assert listed.endpoint.targets == (MINE,)

    for second in range(60):
        listed.now = float(second)
        listed.see(FOREIGN, MINE)
        assert listed.endpoint.targets == (MINE,)


@pytest.mark.parametrize("how", ["it left the slices", "a minute passed"])
def test_an_address_may_become_one_of_the_endpoints_own(how: str) -> None:
    listed = Listed()

    if how == "it left the slices":
        listed.see(MINE)
    else:
        listed.now = 60.0
    listed.see(MINE, FOREIGN)

    assert listed.endpoint.targets == (MINE, FOREIGN)
