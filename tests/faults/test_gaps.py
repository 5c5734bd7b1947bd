"""Changes between two lists, or while a watch is broken, are detected within seconds."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fault_api import Api, until
from fault_exchange import Exchange
from fault_lane import NAME, Lane, lane
from fault_proxy_requests import AtList, AtWatch, Hold, RespondEvery
from fault_proxy_watches import DropEvents, a_deletion
from mistral_operator.kube import kinds

DETECTION_SECONDS = 30.0
IDLE_SECONDS = 5.0


async def ready_endpoint(made: Lane) -> None:
    """Create an endpoint and wait for it."""
    await made.create()
    await made.settle(made.is_ready)


@pytest.mark.exhaustive
async def test_a_child_deleted_before_it_is_watched_is_created_again(
    api: Api, tmp_path: Path
) -> None:
    async with lane(api, "gap-child", tmp_path) as made:
        await ready_endpoint(made)

        async def delete() -> None:
            await api.delete(kinds.SERVICE, made.namespace, NAME)

        gap = AtWatch("services", delete)
        with made.proxy.fault(gap):
            made.operator.kill()
            await until(lambda: _done(gap), "the watch")

            async def is_back() -> bool:
                return await made.get(kinds.SERVICE) != {}

            await until(is_back, "the Service", DETECTION_SECONDS)


@pytest.mark.exhaustive
async def test_a_resource_deleted_before_it_is_watched_is_not_reconciled(
    api: Api, tmp_path: Path
) -> None:
    async with lane(api, "gap-resource", tmp_path) as made:
        await ready_endpoint(made)

        async def delete() -> None:
            await api.delete(kinds.RESOURCE, made.namespace, NAME)

        # The operator itself lists resources first, then Kopf does and watches from there.
        gap = AtList(kinds.RESOURCE.plural, 2, delete)
        with made.proxy.fault(gap):
            made.operator.kill()
            await until(lambda: _done(gap), "the second list")
            await asyncio.sleep(DETECTION_SECONDS)

        assert await made.writes_within(5) == []
        assert await api.list(kinds.DEPLOYMENT, made.namespace) == []


@pytest.mark.exhaustive
async def test_a_deletion_without_a_watch_event_is_detected(
    api: Api, tmp_path: Path, row: Callable[[object], None]
) -> None:
    async with lane(api, "gap-watch", tmp_path) as made:
        await ready_endpoint(made)
        with made.proxy.fault(DropEvents(a_deletion)):
            await api.delete(kinds.SERVICE, made.namespace, NAME)

            async def is_back() -> bool:
                return await made.get(kinds.SERVICE) != {}

            took = await until(is_back, "the Service", DETECTION_SECONDS)
        row(f"lost deletion of a child: put back after {took:.1f} s")


@pytest.mark.exhaustive
async def test_an_edit_without_a_watch_event_is_reconciled(
    api: Api, tmp_path: Path, row: Callable[[object], None]
) -> None:
    async with lane(api, "gap-edit", tmp_path) as made:
        await ready_endpoint(made)
        with made.proxy.fault(DropEvents()):
            await made.edit({"networkPolicy": False})

            async def is_gone() -> bool:
                return await made.get(kinds.NETWORK_POLICY) == {}

            took = await until(is_gone, "the NetworkPolicy to go", DETECTION_SECONDS)
        row(f"lost edit: acted on after {took:.1f} s")


@pytest.mark.parametrize("kinds_of_watches", [("nodes",), ()], ids=["one watch", "every watch"])
async def test_failed_watches_are_restarted(
    api: Api, tmp_path: Path, kinds_of_watches: tuple[str, ...], row: Callable[[object], None]
) -> None:
    name = f"gap-error-{len(kinds_of_watches)}"
    async with lane(api, name, tmp_path) as made:
        await ready_endpoint(made)
        made.operator.exits.clear()

        ended = made.proxy.end_watches(500, *kinds_of_watches)
        assert ended > 0
        await asyncio.sleep(0.5)  # an edit at this moment falls into the gap
        made.begin()
        await made.edit({"networkPolicy": False})

        async def acted() -> bool:
            return bool(made.proxy.writes)

        took = await until(acted, "a write", IDLE_SECONDS)
        row(f"ERROR 500 of {ended} watches: an edit acted on after {took:.1f} s")
        assert made.operator.exits == []
        assert made.operator.tracebacks == 0


async def test_an_edit_during_the_write_of_the_status_is_reconciled(
    api: Api, tmp_path: Path
) -> None:
    async with lane(api, "gap-status", tmp_path) as made:
        await ready_endpoint(made)
        hold = Hold(lambda exchange: exchange.kind == f"{kinds.RESOURCE.plural}/status")
        late = DropEvents(lambda exchange, event: exchange.kind == kinds.RESOURCE.plural)
        with made.proxy.fault(hold):
            await made.edit({"suspend": True})
            await asyncio.wait_for(hold.held.wait(), DETECTION_SECONDS)
            # The watch reports the second edit after the response to the write.
            with made.proxy.fault(late):
                await made.edit({"suspend": False})
                hold.release()
                await asyncio.sleep(1)

        async def resumed() -> bool:
            return bool((await made.get(kinds.DEPLOYMENT))["spec"]["replicas"] == 1)

        await until(resumed, "the second edit", DETECTION_SECONDS)


@pytest.mark.exhaustive
async def test_a_status_is_not_written_to_a_resource_that_was_created_anew(
    api: Api, tmp_path: Path
) -> None:
    def is_status(exchange: Exchange) -> bool:
        return exchange.kind == f"{kinds.RESOURCE.plural}/status"

    async with lane(api, "gap-anew", tmp_path) as made:
        await ready_endpoint(made)
        hold = Hold(is_status)
        silent = DropEvents(lambda exchange, event: exchange.kind == kinds.RESOURCE.plural)
        made.begin()
        with made.proxy.fault(hold):
            await made.edit({"suspend": True})
            await asyncio.wait_for(hold.held.wait(), DETECTION_SECONDS)
            with made.proxy.fault(silent):
                await api.delete(kinds.RESOURCE, made.namespace, NAME)
                await made.create()
                hold.release()
                await made.settle(made.is_ready)

        refused = [one.status for one in made.proxy.exchanges if is_status(one)][:1]
        assert refused == [409], "the held write named a version of the predecessor"


@pytest.mark.exhaustive
async def test_a_rejected_event_is_posted_again(api: Api, tmp_path: Path) -> None:
    async with lane(api, "gap-event", tmp_path) as made:
        with made.proxy.fault(RespondEvery(1, 500, lambda exchange: exchange.kind == "events")):
            await ready_endpoint(made)

        async def posted() -> bool:
            return (await api.event_reasons(made.namespace))["Ready"] == 1

        await until(posted, "the Event", DETECTION_SECONDS)


async def _done(gap: AtList | AtWatch) -> bool:
    return gap.done
