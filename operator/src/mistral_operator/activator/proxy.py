"""One request: queued until a replica is ready, forwarded, and its response streamed back."""

import asyncio
import time

import aiohttp
from aiohttp import web
from yarl import URL

from mistral_operator.activator.accepted_keys import api_key
from mistral_operator.activator.admission import NotAdmitted, is_unknown
from mistral_operator.activator.body import STALL_SECONDS, TimedBody
from mistral_operator.activator.budget import memory_of_request
from mistral_operator.activator.connections import Connections
from mistral_operator.activator.endpoints import Endpoint, LimitExceeded
from mistral_operator.activator.headers import end_to_end, headers_to_replica
from mistral_operator.activator.key_checks import KeyChecks
from mistral_operator.activator.metrics import HELD, REQUESTS, WAIT_SECONDS
from mistral_operator.activator.responses import (
    error_response,
    identify,
    response_while_scaled_to_zero,
)
from mistral_operator.kube.plurals import counted
from mistral_server.contract import KEYLESS_PATHS, OPEN_PATHS, is_open
from mistral_server.guarded_http.guarded_server import head_size
from mistral_server.guarded_http.shares import Shares

_MISDIRECTED = 421
"""Status of a gate whose pod belongs to another endpoint. No other server of ours sends it."""

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

    def __init__(
        self,
        connections: Connections,
        client: aiohttp.ClientSession,
        memory: Shares,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._connections = connections
        self._client = client
        self._memory = memory
        self._checks = KeyChecks()
        self._stall_seconds = stall_seconds

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle one request; the port that received it identifies the endpoint."""
        endpoint = self._connections.endpoint_of(request.transport)
        if endpoint is None:
            return error_response(503, "no endpoint uses this port any more", "unavailable", 5)
        try:
            outcome, response = await self._respond(request, endpoint)
        except asyncio.CancelledError:
            _count(endpoint, "left")
            raise
        _count(endpoint, outcome)
        if not response.prepared:
            identify(response, request.headers, endpoint.terms)
        return response

    async def _respond(
        self, request: web.Request, endpoint: Endpoint
    ) -> tuple[str, web.StreamResponse]:
        local = _local_response(request, endpoint)
        if local is not None:
            return "answered", local
        namespace = endpoint.key.namespace
        body_bytes = request.content_length if request.body_exists else 0
        memory = memory_of_request(head_size(request), body_bytes)
        if not self._memory.take(namespace, memory):
            return "over_budget", _namespace_full(endpoint)
        try:
            return await self._queue_and_forward(request, endpoint)
        finally:
            self._memory.release(namespace, memory)

    async def _queue_and_forward(
        self, request: web.Request, endpoint: Endpoint
    ) -> tuple[str, web.StreamResponse]:
        started, key = time.monotonic(), api_key(request.headers.get("Authorization"))
        deadline = started + endpoint.terms.max_wait_seconds
        admitted, unknown = False, False
        while True:
            try:
                # Again if a replica that seemed ready is gone: nothing has judged the request yet.
                if not admitted and not endpoint.targets:
                    unknown = await self._admit(request, endpoint, key)
                    admitted = not endpoint.targets
                target = await _wait_for_target(endpoint, deadline, unknown=unknown)
            except NotAdmitted as refused:
                return refused.outcome, refused.response
            except LimitExceeded:
                return "over_budget", _queue_full(endpoint)
            except TimeoutError:
                return "timed_out", _start_timed_out(endpoint)
            body = self._body(request)
            try:
                upstream = await self._forward(request, endpoint, target, body)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                # Nothing was sent yet. The slice is outdated, the node is lost, or a policy blocks
                # the connection.
                _warn(endpoint, "refused", f"{target}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)
            except (aiohttp.ClientError, OSError) as error:
                if body is not None and body.too_slow:
                    return "failed", error_response(
                        408, "the body of the request did not arrive in time", "too_slow"
                    )
                _warn(endpoint, "failed", f"{target}: {error}")
                return "failed", error_response(
                    502, "the connection to the replica failed", "broken", 5
                )
            else:
                if upstream.status == _MISDIRECTED:
                    upstream.close()
                    return "misdirected", _misdirected(endpoint, target)
                WAIT_SECONDS.observe(time.monotonic() - started)
                _learn(endpoint, request, key, upstream.status)
                return await _stream_back(request, upstream, endpoint)

    async def _admit(self, request: web.Request, endpoint: Endpoint, key: str) -> bool:
        """Return whether a request that may be queued has an unknown key.

        Raises:
            NotAdmitted: it may not be queued.
        """
        local = _local_response(request, endpoint)
        if local is not None:
            raise NotAdmitted("answered", local)
        return await is_unknown(endpoint, key, request.remote or "unknown", self._checks)

    def _body(self, request: web.Request) -> TimedBody | None:
        return TimedBody(request.content, self._stall_seconds) if request.body_exists else None

    async def _forward(
        self, request: web.Request, endpoint: Endpoint, target: str, body: TimedBody | None
    ) -> aiohttp.ClientResponse:
        return await self._client.request(
            request.method,
            URL(f"http://{target}{request.raw_path}", encoded=True),
            headers=headers_to_replica(request.headers, endpoint.key, request.remote),
            data=body,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )


def _local_response(request: web.Request, endpoint: Endpoint) -> web.Response | None:
    """Return the response to a request that takes no slot of the queue, None if it may take one."""
    if endpoint.targets:
        return None
    return response_while_scaled_to_zero(
        request.method, request.path, request.headers, endpoint.terms
    )


def _learn(endpoint: Endpoint, request: web.Request, key: str, status: int) -> None:
    """Remember whether a replica accepted the key of a request.

    Only a success proves that. The gate requires no key for OPTIONS, and a server can respond with
    an error before the gate reads the key.
    """
    if not endpoint.terms.keys or not key:
        return
    if request.method == "OPTIONS" or request.path in KEYLESS_PATHS:
        return
    if status == 401:
        endpoint.accepted_keys.discard(key)
    elif 200 <= status < 300 and is_open(request.path, OPEN_PATHS):
        endpoint.accepted_keys.add(key)


async def _wait_for_target(endpoint: Endpoint, deadline: float, *, unknown: bool) -> str:
    """Wait for a ready replica and return its host and port.

    Raises:
        LimitExceeded: the queue is full.
        TimeoutError: no replica became ready in time.
    """
    if time.monotonic() > deadline:
        raise TimeoutError
    if endpoint.targets:
        return await endpoint.ready_target()
    gauge = HELD.labels(*endpoint.key)
    with endpoint.slot(unknown=unknown):
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
        status=upstream.status, reason=upstream.reason, headers=end_to_end(upstream.headers)
    )
    # A replica is ready, so the Service soon leads to it, and the client's next connection reaches
    # it. Headers that kept the connection could not be taken back after a long stream, when the
    # port may be another endpoint's: the client would send its next request while it is closed.
    response.force_close()
    async with upstream:
        await response.prepare(request)
        try:
            async for piece in upstream.content.iter_any():
                await response.write(piece)
        except aiohttp.ClientError as error:
            _warn(endpoint, "interrupted", f"the response was interrupted: {error}")
            # A regular end would make a truncated response look complete.
            if request.transport is not None:
                request.transport.abort()
            return "failed", response
    await response.write_eof()
    return "forwarded", response


def _queue_full(endpoint: Endpoint) -> web.Response:
    message = f"the endpoint is starting with {counted(endpoint.held, 'request')} already queued"
    return _retry_later(endpoint, message, "maxRequests", "over_budget")


def _start_timed_out(endpoint: Endpoint) -> web.Response:
    message = (
        f"the endpoint did not start within {counted(endpoint.terms.max_wait_seconds, 'second')}"
    )
    return _retry_later(endpoint, message, "maxWaitSeconds", "timed_out")


def _misdirected(endpoint: Endpoint, target: str) -> web.Response:
    """Stop forwarding to a target. The next one may be the same author's, so none is tried."""
    endpoint.disbelieve(target)
    _warn(
        endpoint,
        "misdirected",
        f"{target} is in a slice of this endpoint and belongs to another: find out who created it",
    )
    return error_response(
        502, "the address of a replica belongs to another endpoint", "misdirected", 5
    )


def _namespace_full(endpoint: Endpoint) -> web.Response:
    _warn(
        endpoint,
        "memory",
        f"the requests of namespace {endpoint.key.namespace} take as much memory of the activator"
        " as they may: raise activator.requestMemoryMiB and activator.resources in the chart's"
        " values",
    )
    message = "too many requests to endpoints of this namespace are queued: try again later"
    return error_response(503, message, "over_budget", endpoint.retry_after())


def _retry_later(endpoint: Endpoint, cause: str, field: str, code: str) -> web.Response:
    # A client cannot edit the resource: the field is for who reads the log.
    _warn(
        *(endpoint, field),
        f"{cause}: raise spec.rollout.{field}, or spec.autoscaling.activation.{field} if"
        " minReplicas is 0",
    )
    return error_response(503, f"{cause}: try again later", code, endpoint.retry_after())


def _warn(endpoint: Endpoint, cause: str, message: str) -> None:
    namespace, name = endpoint.key
    endpoint.log.warning(cause, f"{namespace}/{name}: {message}")


def _count(endpoint: Endpoint, outcome: str) -> None:
    REQUESTS.labels(*endpoint.key, outcome).inc()
