"""Which requests start a replica of an endpoint that is scaled to zero, and which are answered."""

import asyncio
from typing import Any

import pytest

from activator_in_process import CHAT, Activator, Replica, activator, error_of
from mistral_operator.activator.accepted_keys import AcceptedKeys
from mistral_server.contract import KEYLESS_PATHS, OPEN_PATHS

KEY = {"Authorization": "Bearer a-key"}


async def answer(
    made: Activator, method: str, path: str, headers: dict[str, str]
) -> tuple[int, Any, bytes]:
    """Return status, headers and body of a response that must come without a replica."""
    url = made.url(path)
    async with asyncio.timeout(5), made.client.request(method, url, headers=headers) as response:
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("headers", [{}, KEY], ids=["without a key", "with a key"])
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/health"])
@pytest.mark.parametrize("keys", [True, False], ids=["keys", "open"])
async def test_a_preflight_is_answered_at_once(
    keys: bool, path: str, headers: dict[str, str]
) -> None:
    async with activator(keys=keys) as made:
        status, got, _ = await answer(made, "OPTIONS", path, {"Origin": "https://a.b", **headers})

        assert (status, got["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert not [name for name in got if name.startswith("Access-Control-")]
        assert made.endpoint.held == 0


@pytest.mark.parametrize("keys", [True, False], ids=["keys", "open"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", KEYLESS_PATHS)
async def test_what_needs_no_key_while_awake_needs_none_at_zero(
    keys: bool, method: str, path: str
) -> None:
    async with activator(keys=keys) as made:
        status, got, body = await answer(made, method, path, {})

        assert made.endpoint.held == 0
        if path in {"/health", "/ping"}:
            assert status == 200, "a load balancer must not take the endpoint out"
        else:
            assert (status, got["Retry-After"]) == (503, "60")
            assert method == "HEAD" or error_of(body)["code"] == "no_replica"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/pause",
        "/invocations",
        "/v1/responses",
        "/v1/chat/completions/",
        "/v1/chat/completionsx",
        "//v1/chat/completions",
        "/v1/%2e%2e/pause",
        "/docs",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_path_that_the_gate_closes_starts_nothing(method: str, path: str) -> None:
    async with activator() as made:
        status, _, body = await answer(made, method, path, KEY)

        assert (status, error_of(body)["code"]) == (404, "path_not_open")
        assert made.endpoint.held == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models"),
        ("POST", "/v1/models/small"),
        ("POST", "/v1/models%2fx/../../pause"),
        ("GET", CHAT),
        ("PUT", CHAT),
        ("DELETE", CHAT),
        ("PATCH", CHAT),
    ],
)
async def test_a_request_that_no_replica_would_compute_for_starts_none(
    method: str, path: str
) -> None:
    async with activator() as made:
        status, _, body = await answer(made, method, path, KEY)

        assert (status, error_of(body)["code"]) == (503, "no_replica")
        assert made.endpoint.held == 0


@pytest.mark.parametrize(
    "path", [one for one in OPEN_PATHS if "models" not in one and one not in KEYLESS_PATHS]
)
async def test_an_open_path_starts_a_replica(path: str) -> None:
    async with activator() as made, Replica().serving() as replica:
        pending = asyncio.create_task(made.post(path))
        await made.until_queued(1)
        made.make_ready(replica)

        assert (await pending)[0] == 201


async def test_a_path_that_the_resource_opens_starts_a_replica() -> None:
    async with activator(paths=("/v1/audio/*",)) as made, Replica().serving() as replica:
        pending = asyncio.create_task(made.post("/v1/audio/transcriptions"))
        await made.until_queued(1)
        made.make_ready(replica)

        assert (await pending)[0] == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer  "},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-Api-Key": "a-key"},
    ],
    ids=str,
)
async def test_a_request_without_a_key_starts_nothing_and_takes_no_place(
    headers: dict[str, str],
) -> None:
    async with activator(keys=True, max_requests=1) as made, Replica().serving() as replica:
        for _ in range(5):
            status, sent, body = await answer(made, "POST", CHAT, headers)
            assert (status, error_of(body)["code"]) == (401, "invalid_api_key")
            assert sent["WWW-Authenticate"] == "Bearer"
        assert made.endpoint.held == 0

        pending = asyncio.create_task(made.post(headers=KEY))
        await made.until_queued(1)
        made.make_ready(replica)
        assert (await pending)[0] == 201


async def test_a_model_that_is_not_served_is_named_as_the_gate_names_it() -> None:
    async with activator() as made:
        status, _, body = await answer(made, "GET", "/v1/models/other", {})

        assert (status, error_of(body)["code"]) == (404, "model_not_found")
        assert error_of(body)["param"] == "model"


async def test_a_list_of_models_needs_the_key_that_it_needs_while_awake() -> None:
    async with activator(keys=True) as made:
        assert (await answer(made, "GET", "/v1/models", {}))[0] == 401
        assert (await answer(made, "GET", "/v1/models", KEY))[0] == 200


async def test_while_a_replica_is_ready_everything_is_the_gates_to_judge() -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        made.make_ready(replica)
        requests = (("OPTIONS", CHAT), ("GET", "/health"), ("POST", "/pause"))
        statuses = [(await answer(made, method, path, {}))[0] for method, path in requests]

        assert statuses == [405, 201, 201]
        assert len(replica.received) == 3


async def test_made_up_keys_cannot_take_the_places_of_a_key_that_a_replica_accepted() -> None:
    """100 wrong keys took all places, and the right one was refused."""
    replica = Replica(keys={"Bearer right"})
    async with activator(keys=True, max_requests=10) as made, replica.serving():
        made.make_ready(replica)
        assert (await made.post(headers={"Authorization": "Bearer right"}))[0] == 201
        assert (await made.post(headers={"Authorization": "Bearer wrong"}))[0] == 401
        made.no_replica()

        wrong = [
            asyncio.create_task(made.post(headers={"Authorization": f"Bearer wrong {number}"}))
            for number in range(20)
        ]
        await made.until_queued(5)
        right = [
            asyncio.create_task(made.post(headers={"Authorization": "bearer  right"}))
            for _ in range(5)
        ]
        await made.until_queued(10)
        made.make_ready(replica)

        statuses = [status for status, _, _ in await asyncio.gather(*wrong)]
        assert (statuses.count(401), statuses.count(503)) == (5, 15)
        assert len(await asyncio.gather(*right)) == 5
        assert len(replica.received) == 12, "two before, and ten that were queued"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", CHAT, 405),
        ("GET", "/health", 200),
        ("GET", "/pause", 404),
        ("POST", CHAT, 400),
        ("POST", CHAT, 502),
        ("POST", CHAT, 503),
    ],
)
async def test_only_a_success_teaches_a_key(method: str, path: str, status: int) -> None:
    """256 preflights with made-up keys pushed out all keys that a replica had accepted."""
    right = {"Authorization": "Bearer right"}
    replica = Replica(keys={"Bearer right"})
    async with activator(keys=True) as made, replica.serving():
        made.make_ready(replica)
        assert (await made.post(headers=right))[0] == 201
        replica.keys, replica.status = None, status

        for number in range(260):
            made_up = {"Authorization": f"Bearer made up {number}"}
            assert (await answer(made, method, path, made_up))[0] == status

        accepted = made.endpoint.accepted_keys
        assert "right" in accepted
        assert "made up 259" not in accepted
        assert (await answer(made, method, path, right))[0] == status
        assert "right" in accepted


async def test_until_a_key_was_accepted_any_key_may_take_every_place() -> None:
    async with activator(keys=True, max_requests=2) as made, Replica().serving() as replica:
        pending = [asyncio.create_task(made.post(headers=KEY)) for _ in range(2)]
        await made.until_queued(2)
        made.make_ready(replica)

        assert [status for status, _, _ in await asyncio.gather(*pending)] == [201, 201]


def test_a_rejected_key_is_forgotten_and_too_many_push_out_the_oldest() -> None:
    accepted = AcceptedKeys()
    for number in range(300):
        accepted.add(f"key {number}")
    accepted.discard("key 299")

    assert accepted
    assert [f"key {number}" in accepted for number in (0, 43, 44, 298, 299)] == [
        *(False, False, True, True, False)
    ]
    assert "key 298" not in repr(vars(accepted)), "no key is kept"
