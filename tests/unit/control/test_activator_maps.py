"""The maps of the activators in the API server: a start without them, and edits of others."""

import itertools
from typing import Any

import pytest

from activator_maps import KEY, AddsAnEntry, Endpoints, Maps, api_server
from builders import NAME, NAMESPACE
from endpoint_slices import mapped, our_slice, slice_body
from fake_api_server import Write
from fake_objects import ApiError
from mistral_operator.kube import names
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS, encode_port_map

OTHER = Key(NAMESPACE, "other")
LAST_PORT = FIRST_PORT + PORTS - 1


# --- A start without the port map -----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="no map"),
        pytest.param({}, id="an empty map"),
        pytest.param({"20000": "{}"}, id="its entry is invalid"),
    ],
)
async def test_a_port_that_a_slice_leads_to_rests(data: dict[str, str] | None) -> None:
    """Requests to that endpoint, with its API keys, must not reach another one."""
    endpoints, api = Endpoints(our_slice("10.0.0.9", port=FIRST_PORT)), api_server(data)
    endpoints.hold(KEY)

    await endpoints.writer(api).restore()

    others = [Key(NAMESPACE, f"endpoint-{number}") for number in range(PORTS)]
    assert [*map(endpoints.reconcile, others)] == [
        *range(FIRST_PORT + 1, LAST_PORT + 1),
        None,
    ]


def test_an_endpoint_without_an_entry_does_not_get_its_port_back() -> None:
    """Its slice is in a namespace of a tenant, who may have edited it."""
    endpoints = Endpoints(our_slice(port=FIRST_PORT))
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    assert endpoints.reconcile(KEY) == FIRST_PORT + 1


def test_a_port_in_the_map_stays_with_its_endpoint_whatever_slices_say() -> None:
    endpoints = Endpoints(our_slice(port=FIRST_PORT))
    endpoints.hold(KEY, OTHER)

    endpoints.ports.restore(encode_port_map({FIRST_PORT: mapped(OTHER)}))

    assert endpoints.reconcile(OTHER) == FIRST_PORT
    others = {endpoints.reconcile(Key("a", f"{number}")) for number in range(PORTS)}
    assert others == {*range(FIRST_PORT + 1, LAST_PORT + 1), None}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(slice_body(port=FIRST_PORT), id="a slice of Kubernetes"),
        pytest.param(our_slice(port=FIRST_PORT) | {"ports": None}, id="without ports"),
        pytest.param(our_slice(port=FIRST_PORT) | {"ports": [{}]}, id="every port"),
        pytest.param(our_slice(port=443), id="not a port of the activators"),
        pytest.param(
            our_slice(port=FIRST_PORT, labels=names.labels("gone")), id="of no resource that exists"
        ),
    ],
)
def test_other_slices_hold_back_no_port(made: Any) -> None:
    endpoints = Endpoints(made)
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    assert endpoints.reconcile(OTHER) == FIRST_PORT


def test_one_resource_holds_back_one_port() -> None:
    """A tenant can add ports to a slice, and slices."""
    several = [{"name": f"http-{number}", "port": FIRST_PORT + number} for number in range(9)]
    more = [our_slice(port=FIRST_PORT + 5 + number, name=f"more-{number}") for number in range(9)]
    six = our_slice("fd00::9", port=FIRST_PORT + 3, name=names.activator_slice(NAME, ipv6=True))
    endpoints = Endpoints(our_slice() | {"ports": several}, six, *more)
    endpoints.hold(KEY)

    endpoints.ports.restore({})

    ports = [endpoints.reconcile(Key(NAMESPACE, f"endpoint-{number}")) for number in range(9)]
    assert ports == [*range(FIRST_PORT + 1, FIRST_PORT + 10)]


# --- Entries of others ----------------------------------------------------------------------------


BOTH = pytest.mark.parametrize("name", [names.PORT_MAP, names.KEY_MAP], ids=["ports", "keys"])
ADDED = {
    "20007": mapped(Key("someone", "else")).model_dump_json(),
    "someone.else": f"1 AAAAAAAA {'A' * 16} digestof",
    "note": "do not edit",
}


@BOTH
async def test_an_entry_that_someone_added_is_removed_and_that_is_that(name: str) -> None:
    maps = await Maps.of(name, KEY)
    written = maps.data
    assert len(written) == 1

    maps.edit(**ADDED)

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == written


@BOTH
async def test_an_entry_that_someone_added_to_an_empty_map_is_removed(name: str) -> None:
    maps = await Maps.of(name, api=api_server({}, name))

    maps.edit(**ADDED)

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == {}


@BOTH
async def test_the_entries_of_a_restored_map_go_with_their_endpoints(name: str) -> None:
    """Who restores a backup owns every entry, and server-side apply leaves them."""
    before = await Maps.of(name, KEY, OTHER)
    maps = await Maps.of(name, KEY, OTHER, api=api_server(before.data, name))
    assert len(maps.data) == 2

    maps.delete(OTHER)

    assert await maps.writes() == ["apply", "patch"]
    assert len(maps.data) == 1


@BOTH
async def test_an_edit_between_the_two_writes_is_not_overwritten_unread(name: str) -> None:
    maps = await Maps.of(name, KEY)
    written = maps.data

    async def edit_again(_: Write) -> None:
        maps.api.after_write = None
        maps.edit(another="entry")

    maps.edit(**ADDED)
    maps.api.after_write = edit_again

    assert await maps.writes() == ["apply", "patch", "apply", "patch"]
    assert maps.data == written


@BOTH
async def test_edits_that_never_pause_are_not_fought_forever(name: str) -> None:
    maps = await Maps.of(name, KEY)
    entries = itertools.count()

    async def edit_again(write: Write) -> None:
        if write.verb == "apply":
            maps.edit(**{f"entry-{next(entries)}": "edited"})

    maps.edit(**ADDED)
    maps.api.after_write = edit_again

    assert await maps.writes(looks=1) == ["apply", "patch"] * 3


@BOTH
async def test_a_patch_that_is_rejected_is_logged_and_not_repeated_forever(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    maps = await Maps.of(name, KEY)

    async def reject_patches(write: Write) -> None:
        if write.verb == "patch":
            raise ApiError(403, "Forbidden", "a policy denied the request")

    maps.edit(**ADDED)
    maps.api.before_write = reject_patches

    assert await maps.writes() == ["apply", "patch"]
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warning.startswith(f"ConfigMap {name}: cannot remove entries of others: ")


@BOTH
async def test_an_entry_that_a_webhook_adds_to_each_write_is_not_fought(name: str) -> None:
    maps = Maps(name, AddsAnEntry())
    maps.serve(KEY)

    assert await maps.writes() == ["apply", "patch"]
    assert "injected" in maps.data


@BOTH
async def test_a_patch_while_the_api_server_is_away_is_tried_again(name: str) -> None:
    maps = await Maps.of(name, KEY)
    written = maps.data

    async def fail_once(write: Write) -> None:
        if write.verb == "patch":
            maps.api.before_write = None
            raise ApiError(503, "ServiceUnavailable", "later")

    maps.edit(**ADDED)
    maps.api.before_write = fail_once
    with pytest.raises(Unavailable):
        await maps.look()

    assert await maps.writes() == ["apply", "patch"]
    assert maps.data == written
