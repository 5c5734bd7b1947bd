"""Which web pages of other origins may use an endpoint, of a replica and of the activator."""

from typing import Any

import pytest

from activator_in_process import activator
from gate_engine import CHAT, FakeEngine, ask, gate
from mistral_server.contract import KEYLESS_PATHS, preflight_headers, response_headers

CHATS, OTHER = "https://chat.example.com", "https://other.example.com"
ORIGINS = (CHATS, "http://localhost:3000")
USER = {"role": "user", "content": "Hi"}
REQUESTED = "authorization,content-type,x-stainless-os"
EXPOSED = "retry-after, x-mistral-finish-reason, x-request-id"


def cors_of(headers: Any) -> dict[str, str]:
    """Return the headers that browsers look at."""
    names = ("access-control-", "vary", "allow")
    return {
        name.lower(): value for name, value in headers.items() if name.lower().startswith(names)
    }


PREFLIGHTS: dict[str, tuple[tuple[str, ...], str | None, str | None, dict[str, str]]] = {
    # origins, origin, the headers that it requests, and the answer
    "off": ((), CHATS, REQUESTED, {"allow": "GET, HEAD, OPTIONS, POST"}),
    "another origin": (
        *(ORIGINS, OTHER, REQUESTED),
        {"allow": "GET, HEAD, OPTIONS, POST", "vary": "Origin"},
    ),
    "no origin": (ORIGINS, None, None, {"allow": "GET, HEAD, OPTIONS, POST", "vary": "Origin"}),
    "an origin of the list": (
        *(ORIGINS, CHATS, REQUESTED),
        {
            "allow": "GET, HEAD, OPTIONS, POST",
            "access-control-allow-methods": "GET, HEAD, OPTIONS, POST",
            "access-control-allow-headers": REQUESTED,
            "access-control-max-age": "600",
            "access-control-allow-origin": CHATS,
            "access-control-expose-headers": EXPOSED,
            "vary": "Origin",
        },
    ),
}


@pytest.mark.parametrize("case", PREFLIGHTS)
async def test_gate_and_activator_answer_a_preflight_alike(configure: Any, case: str) -> None:
    origins, origin, requested, expected = PREFLIGHTS[case]
    headers = {"Access-Control-Request-Method": "POST"}
    headers |= {"Origin": origin} if origin else {}
    headers |= {"Access-Control-Request-Headers": requested} if requested else {}
    configure(gate={"allowed_origins": origins, "api_keys": "/none"})
    engine = FakeEngine()

    got = await ask(gate(engine), b"", CHAT, "OPTIONS", headers.items())
    assert (got.status, got.body, cors_of(got.headers)) == (204, b"", expected)
    assert engine.scopes == []

    async with activator(keys=True, origins=origins) as made:
        url = made.url(CHAT)
        async with made.client.request("OPTIONS", url, headers=headers) as response:
            assert (response.status, cors_of(response.headers)) == (204, expected)
        assert made.endpoint.held == 0


@pytest.mark.parametrize(
    "requested",
    [None, "", "a\r\nset-cookie: b", "x" * 2049, 'a"', "a;b", "é", "*"],
)
def test_odd_names_of_headers_are_not_repeated(requested: str | None) -> None:
    headers = dict(preflight_headers(CHATS, requested, ORIGINS))

    assert headers["access-control-allow-headers"] == "authorization, content-type"


@pytest.mark.parametrize(
    "origin", [None, "", "null", "*", f"{CHATS}/", f"{CHATS}:443", CHATS.upper(), f"{CHATS}.evil"]
)
def test_an_origin_is_exact(origin: str | None) -> None:
    assert response_headers(origin, ORIGINS) == [("vary", "Origin")]
    assert response_headers(origin, ()) == []


async def anything(scope: Any, receive: Any, send: Any) -> None:
    """Answer as an engine that allows every origin by default."""
    headers = [
        (b"content-type", b"application/json"),
        (b"access-control-allow-origin", b"*"),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"vary", b"Origin"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.parametrize("origins", [(), ORIGINS])
async def test_what_the_engine_allows_does_not_count(
    configure: Any, origins: tuple[str, ...]
) -> None:
    configure(gate={"allowed_origins": origins})
    for origin in (CHATS, OTHER):
        got = await ask(gate(anything), b"", "/v1/models", "GET", [("Origin", origin)])
        named = got.headers.get("access-control-allow-origin")

        assert named == (origin if origin in origins else None)
        assert "access-control-allow-credentials" not in got.headers
        assert got.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, {"messages": [USER]}, 200),
        (CHAT, {"messages": []}, 400),
        (CHAT, b"no JSON", 400),
        ("/v1/responses", {}, 404),
    ],
)
async def test_a_page_reads_errors_too(
    configure: Any, path: str, body: dict[str, Any] | bytes, status: int
) -> None:
    configure(gate={"allowed_origins": ORIGINS})
    got = await ask(gate(FakeEngine()), body, path, headers=[("Origin", CHATS)])

    assert got.status == status
    assert got.headers["access-control-allow-origin"] == CHATS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", CHAT, 401),
        ("GET", "/v1/models", 401),
        ("POST", "/v1/responses", 404),
        *(("GET", path, 200 if path in {"/health", "/ping"} else 503) for path in KEYLESS_PATHS),
    ],
)
async def test_a_page_reads_what_the_activator_says(method: str, path: str, status: int) -> None:
    async with activator(keys=True, origins=ORIGINS) as made:
        for origin in (CHATS, OTHER):
            headers = {"Origin": origin, "X-Request-Id": "mine"}
            async with made.client.request(method, made.url(path), headers=headers) as response:
                assert response.status == status
                named = response.headers.get("Access-Control-Allow-Origin")
                assert named == (CHATS if origin == CHATS else None)
                assert response.headers["X-Request-Id"] == "mine"


async def test_the_activator_retrieves_the_model_by_its_name() -> None:
    async with activator(model="owner/name") as made:
        for name, status in (("owner/name", 200), ("owner%2Fname", 200), ("other", 404)):
            async with made.client.get(made.url(f"/v1/models/{name}")) as response:
                document = await response.json()
                assert response.status == status
                code = document["id"] if status == 200 else document["error"]["code"]
                assert code == ("owner/name" if status == 200 else "model_not_found")
        assert made.endpoint.held == 0
