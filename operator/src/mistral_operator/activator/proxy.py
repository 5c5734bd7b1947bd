"""One request: queued until a replica is ready, forwarded, and its response streamed back."""

import asyncio
import logging
import time
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from mistral_operator.activator.endpoints import Endpoint, Endpoints, LimitExceeded
from mistral_operator.activator.metrics import HELD, REQUESTS, WAIT_SECONDS
from mistral_operator.activator.responses import error_response, response_while_scaled_to_zero
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
"""Hop-by-hop headers (RFC 9110, section 7.6.1), and Expect, which is handled here."""

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.5
"""Delay before the next attempt when a ready replica refused the connection."""


def upstream_session() -> aiohttp.ClientSession:
    """Return the session for requests to replicas.

    A body is streamed and cannot be sent twice. So connections are not reused: the replica might be
    closing one at that moment. There is no timeout: a generation may take any time, and a client
    that disconnects cancels it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class Proxy:
    """Handles requests to endpoints that can scale to zero."""

    def __init__(self, endpoints: Endpoints, client: aiohttp.ClientSession) -> None:
        self._endpoints = endpoints
        self._client = client

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle one request; the port that received it identifies the endpoint."""
        endpoint = self._endpoints.by_port(_port(request))
        if endpoint is None:
            return error_response(503, "no endpoint uses this port any more", "unavailable", 5)
        try:
            outcome, response = await self._respond(request, endpoint)
        except asyncio.CancelledError:
            _count(endpoint, "left")
            raise
        _count(endpoint, outcome)
        return response

    async def _respond(
        self, request: web.Request, endpoint: Endpoint
    ) -> tuple[str, web.StreamResponse]:
        if not endpoint.targets:
            local = response_while_scaled_to_zero(
                request.method, request.path, request.headers, endpoint.terms
            )
            if local is not None:
                return "answered", local
        started = time.monotonic()
        deadline = started + endpoint.terms.max_wait_seconds
        while True:
            try:
                target = await _wait_for_target(endpoint, deadline)
            except LimitExceeded:
                return "over_budget", _queue_full(endpoint)
            except TimeoutError:
                return "timed_out", _start_timed_out(endpoint)
            try:
                upstream = await self._forward(request, target)
            except aiohttp.ClientConnectorError as error:
                # Nothing was sent yet. The slice is outdated, or the connection is blocked.
                log.warning("%s/%s: %s: %s", *endpoint.key, target, error)
                await asyncio.sleep(_RETRY_SECONDS)
            except (aiohttp.ClientError, OSError) as error:
                log.warning("%s/%s: %s: %s", *endpoint.key, target, error)
                return "failed", error_response(
                    502, "the connection to the replica failed", "broken", 5
                )
            else:
                WAIT_SECONDS.observe(time.monotonic() - started)
                return await _stream_back(request, upstream, endpoint)

    async def _forward(self, request: web.Request, target: str) -> aiohttp.ClientResponse:
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


async def _wait_for_target(endpoint: Endpoint, deadline: float) -> str:
    """Wait for a ready replica and return its host and port.

    Raises:
        OverBudget: the queue is full.
        TimeoutError: no replica became ready in time.
    """
    if time.monotonic() > deadline:
        raise TimeoutError
    if endpoint.targets:
        return await endpoint.ready_target()
    gauge = HELD.labels(*endpoint.key)
    with endpoint.slot():
        gauge.set(endpoint.held)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await endpoint.ready_target()
        finally:
            gauge.set(endpoint.held - 1)


async def _stream_back(
    request: web.Request, upstream: aiohttp.ClientResponse, endpoint: Endpoint
) -> tuple[str, web.StreamResponse]:
    """Stream a response to the client."""
    response = web.StreamResponse(
        status=upstream.status, reason=upstream.reason, headers=_end_to_end(upstream.headers)
    )
    if not endpoint.in_path:
        # The Service routes to the replicas again, so the client's next connection reaches one.
        response.force_close()
    async with upstream:
        await response.prepare(request)
        try:
            async for piece in upstream.content.iter_any():
                await response.write(piece)
        except aiohttp.ClientError as error:
            log.warning("%s/%s: the response was interrupted: %s", *endpoint.key, error)
            # A regular end would make a truncated response look complete.
            if request.transport is not None:
                request.transport.abort()
            return "failed", response
    await response.write_eof()
    return "forwarded", response


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers to forward; a name may occur several times."""
    named = {one.strip().lower() for one in headers.get("Connection", "").split(",")}
    return [one for one in headers.items() if one[0].lower() not in _HOP_BY_HOP | named]


def _queue_full(endpoint: Endpoint) -> web.Response:
    message = f"the endpoint is starting with {counted(endpoint.held, 'request')} already queued"
    return _retry_later(endpoint, message, "maxRequests", "over_budget")


def _start_timed_out(endpoint: Endpoint) -> web.Response:
    message = (
        f"the endpoint did not start within {counted(endpoint.terms.max_wait_seconds, 'second')}"
    )
    return _retry_later(endpoint, message, "maxWaitSeconds", "timed_out")


def _retry_later(endpoint: Endpoint, cause: str, field: str, code: str) -> web.Response:
    # A client cannot edit the resource: the field is for who reads the log.
    log.warning("%s/%s: %s: raise spec.autoscaling.activation.%s", *endpoint.key, cause, field)
    return error_response(503, f"{cause}: try again later", code, endpoint.retry_after())


def _count(endpoint: Endpoint, outcome: str) -> None:
    REQUESTS.labels(*endpoint.key, outcome).inc()
