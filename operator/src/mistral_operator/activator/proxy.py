"""The way of one request: held until a replica is ready, forwarded, and streamed back."""

import asyncio
import logging
import time
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from mistral_operator.activator.answers import refusal, while_asleep
from mistral_operator.activator.endpoints import Endpoint, Endpoints, OverBudget
from mistral_operator.activator.metrics import HELD, REQUESTS, WAIT_SECONDS
from mistral_operator.kube.plurals import counted

log = logging.getLogger(__name__)

_HOP_BY_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers of one connection (RFC 9110, section 7.6.1), and Expect, which is answered here."""

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.5
"""Pause after a replica that is said to be ready did not take a connection."""


def session() -> aiohttp.ClientSession:
    """Return the session that replicas are asked with.

    A body is streamed, so it cannot be sent twice: no connection is used again, which the replica
    might be closing at that moment. There is no time limit: a generation may take as long as it
    likes, and a client that leaves ends it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class Proxy:
    """Answers requests to endpoints that may sleep."""

    def __init__(self, endpoints: Endpoints, client: aiohttp.ClientSession) -> None:
        self._endpoints = endpoints
        self._client = client

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; the port on which it arrived says to whom it goes."""
        endpoint = self._endpoints.at(_port(request))
        if endpoint is None:
            return refusal(503, "no endpoint uses this port any more", "unavailable", 5)
        try:
            outcome, response = await self._answer(request, endpoint)
        except asyncio.CancelledError:
            _count(endpoint, "left")
            raise
        _count(endpoint, outcome)
        return response

    async def _answer(
        self, request: web.Request, endpoint: Endpoint
    ) -> tuple[str, web.StreamResponse]:
        if not endpoint.targets:
            said = while_asleep(request.method, request.path, request.headers, endpoint.terms)
            if said is not None:
                return "answered", said
        started = time.monotonic()
        deadline = started + endpoint.terms.max_wait_seconds
        while True:
            try:
                target = await _wait(endpoint, deadline)
            except OverBudget:
                return "over_budget", _too_many(endpoint)
            except TimeoutError:
                return "timed_out", _too_long(endpoint)
            try:
                upstream = await self._ask(request, target)
            except aiohttp.ClientConnectorError as error:
                # Nothing was sent yet. Its slice is not up to date, or somebody closed the way.
                log.warning("%s/%s: %s: %s", *endpoint.key, target, error)
                await asyncio.sleep(_RETRY_SECONDS)
            except (aiohttp.ClientError, OSError) as error:
                log.warning("%s/%s: %s: %s", *endpoint.key, target, error)
                return "failed", refusal(502, "the connection to the replica failed", "broken", 5)
            else:
                WAIT_SECONDS.observe(time.monotonic() - started)
                return await _pass_on(request, upstream, endpoint)

    async def _ask(self, request: web.Request, target: str) -> aiohttp.ClientResponse:
        return await self._client.request(
            request.method,
            URL(f"http://{target}{request.raw_path}", encoded=True),
            headers=_end_to_end(request.headers),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )


def _port(request: web.Request) -> int:
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("sockname")
    return 0 if name is None else int(name[1])


async def _wait(endpoint: Endpoint, deadline: float) -> str:
    """Wait for a ready replica; return its host and port.

    Raises:
        OverBudget: too many wait already.
        TimeoutError: none was ready in time.
    """
    if time.monotonic() > deadline:
        raise TimeoutError
    if endpoint.targets:
        return await endpoint.ready()
    gauge = HELD.labels(*endpoint.key)
    with endpoint.place():
        gauge.set(endpoint.held)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await endpoint.ready()
        finally:
            gauge.set(endpoint.held - 1)


async def _pass_on(
    request: web.Request, upstream: aiohttp.ClientResponse, endpoint: Endpoint
) -> tuple[str, web.StreamResponse]:
    """Stream an answer to the client as it comes."""
    response = web.StreamResponse(
        status=upstream.status, reason=upstream.reason, headers=_end_to_end(upstream.headers)
    )
    if not endpoint.in_path:
        # The Service leads to the replicas again, and so will the client's next connection.
        response.force_close()
    async with upstream:
        await response.prepare(request)
        try:
            async for piece in upstream.content.iter_any():
                await response.write(piece)
        except aiohttp.ClientError as error:
            log.warning("%s/%s: the response was interrupted: %s", *endpoint.key, error)
            # A proper end would make a whole answer of half a one.
            if request.transport is not None:
                request.transport.abort()
            return "failed", response
    await response.write_eof()
    return "forwarded", response


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers that are passed on; a name may occur several times."""
    named = {one.strip().lower() for one in headers.get("Connection", "").split(",")}
    return [one for one in headers.items() if one[0].lower() not in _HOP_BY_HOP | named]


def _too_many(endpoint: Endpoint) -> web.Response:
    said = f"the endpoint is starting with {counted(endpoint.held, 'request')} already queued"
    return _later(endpoint, said, "maxRequests", "over_budget")


def _too_long(endpoint: Endpoint) -> web.Response:
    said = f"the endpoint did not start within {counted(endpoint.terms.max_wait_seconds, 'second')}"
    return _later(endpoint, said, "maxWaitSeconds", "timed_out")


def _later(endpoint: Endpoint, said: str, field: str, code: str) -> web.Response:
    message = f"{said}: try again later, or raise spec.autoscaling.activation.{field}"
    return refusal(503, message, code, endpoint.retry_after())


def _count(endpoint: Endpoint, outcome: str) -> None:
    REQUESTS.labels(*endpoint.key, outcome).inc()
