"""What answers in place of the API server ends no election, and makes no replica a leader."""

import json

import pytest
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException

from lease_replicas import FENCE_SECONDS, LEASE_SECONDS, pass_seconds, two_replicas
from lease_server import LeaseServer, Page
from mistral_operator.kube import names

HTML = Page("<html>maintenance</html>", "text/html")
PAGES = {
    "HTML": HTML,
    "HTML that claims to be JSON": Page("<html>maintenance</html>"),
    "a content type that the client does not know": Page("maintenance", "application/yaml"),
    "nothing": Page(""),
    "null": Page("null"),
    "an empty object": Page("{}"),
    "a list": Page("[]"),
    "a text": Page('"x"'),
    "deep JSON": Page("[" * 100_000),
    "another document": Page('{"status": "maintenance"}'),
    "no name": Page('{"metadata": {}}'),
    "no version": Page(json.dumps({"metadata": {"name": names.LEASE}})),
    "another object": Page('{"metadata": {"name": "other", "resourceVersion": "1"}}'),
    "fields of other types": Page('{"metadata": null, "spec": 3}'),
    "a time that is none": Page('{"spec": {"renewTime": "x"}}'),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
async def test_a_page_in_place_of_the_lease_is_an_outage(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, second):
        await first.attempt()
        await second.attempt()
        server.page = page

        for _ in range(3):
            assert not await first.attempt()
            assert not await second.attempt()

        assert caplog.text.count("the API server does not answer") == 2, "once for each replica"
        assert first.may_write, "what was renewed a moment ago still holds"
        pass_seconds(LEASE_SECONDS, first, second)
        assert not first.may_write
        server.page = None
        assert not await second.attempt(), "the leader could not renew either"
        assert await first.attempt()
        assert first.may_write


NO_RENEWALS = PAGES | {
    "the Lease of another holder": Page(
        json.dumps(
            {
                "metadata": {"name": names.LEASE, "resourceVersion": "9"},
                "spec": {"holderIdentity": "other", "leaseDurationSeconds": LEASE_SECONDS},
            }
        )
    ),
}


@pytest.mark.parametrize("exists", [True, False], ids=["renewed", "created"])
@pytest.mark.parametrize("page", NO_RENEWALS.values(), ids=NO_RENEWALS)
async def test_only_a_lease_that_names_the_replica_opens_its_fence(
    page: Page, exists: bool
) -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        if exists:
            await first.attempt()
            pass_seconds(FENCE_SECONDS, first)
        server.page = Page(page.text, page.content_type, methods=("POST", "PUT"))

        assert not await first.attempt()

        assert server.holder == "first", "the write was carried out"
        assert not first.may_write


async def test_a_leader_that_stops_while_a_page_is_served_leaves_without_an_error() -> None:
    server = LeaseServer()
    async with two_replicas(server) as (first, _):
        await first.attempt()
        server.page = HTML

        await first.lock.release()

        assert server.writes == ["first", ""]
        assert not first.may_write


PROBLEMS = {
    "empty": ConfigException("Token file exists but empty."),
    "deleted": OSError("No such file or directory"),
    "not UTF-8": ValueError("invalid start byte"),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
async def test_a_token_that_cannot_be_read_now_is_an_outage(problem: Exception) -> None:
    def refresh(_: Configuration) -> None:
        raise problem

    async with two_replicas(LeaseServer()) as (first, _):
        await first.attempt()
        configuration = first.cluster.client.configuration
        configuration.api_key["BearerToken"] = "token"
        configuration.refresh_api_key_hook = refresh

        assert not await first.attempt()
        assert not first.cluster.availability.reachable
        configuration.refresh_api_key_hook = None
        assert await first.attempt()
