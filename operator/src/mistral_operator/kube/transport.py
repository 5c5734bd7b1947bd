"""The only module that sends requests to the Kubernetes API; `kube/client.py` says which.

It uses the transport of the official client (connections, certificates, tokens and their renewal)
with objects as plain data. Its model classes would double the CPU time of a fleet's start.
"""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.rest import RESTResponse
from kubernetes.aio.config import ConfigException
from yarl import URL

from mistral_operator.kube.availability import Availability
from mistral_operator.kube.credentials import load_configuration
from mistral_operator.kube.documents import OBJECT, Decoder, NotADocument
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.fence import Fence
from mistral_operator.kube.lines import Lines
from mistral_operator.kube.redirects import Redirected, reject_redirects
from mistral_operator.metrics import API_REQUESTS

log = logging.getLogger(__name__)

Object = dict[str, Any]

_NO_RESPONSE = (TimeoutError, aiohttp.ClientError, OSError)

JSON = "application/json"
_REQUEST_SECONDS = 30
_CONNECT_SECONDS = 10
_SILENT_SECONDS = 70
"""Silence after which a stream counts as broken; the API server sends a bookmark every minute."""
_PAUSED_ATTEMPTS = 4
"""Maximum attempts of a request while responses have Retry-After; client-go uses 10."""


class Stream(NamedTuple):
    """How a stream of lines is read."""

    accept: str = JSON
    silent_seconds: float | None = _SILENT_SECONDS
    """Silence after which it counts as broken; None: never."""
    longest: int | None = None
    """Bytes of a line that are passed on; all of it and no line without an end if None."""


WATCH = Stream()


class Transport:
    """Connections to the API server, as a context manager."""

    def __init__(self, client: ApiClient, fence: Fence | None = None) -> None:
        self.client = client
        # Read at the first request; the official client has no option for it.
        client.configuration.client_session_kwargs = {
            **(client.configuration.client_session_kwargs or {}),
            "middlewares": (reject_redirects,),
        }
        self.fence = fence or Fence()
        """Blocks writes while this replica may have lost the Lease."""
        self.availability = Availability()
        """Availability of the API server."""
        self.date: str | None = None
        """Header Date of the last response: the time of the API server."""

    @classmethod
    async def connect(
        cls, connections: int, kubeconfig: str | None = None, context: str | None = None
    ) -> Self:
        """Connect with the pod's service account or, outside a cluster, with a kubeconfig.

        Args:
            connections: maximum number of concurrent requests.
            kubeconfig: path of a kubeconfig; default $KUBECONFIG, then ~/.kube/config.
            context: of the kubeconfig; default its current one.

        Raises:
            CannotStart: there are no usable credentials.
        """
        return cls(ApiClient(await load_configuration(connections, kubeconfig, context)))

    async def __aenter__(self) -> Self:
        """Return the connection."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.client.close()

    async def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | list[Object] | str | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        decode: Decoder[Object] = OBJECT,
    ) -> Object:
        """Send a request, retry it after the delay of Retry-After, and return the response.

        Raises:
            ClusterError: the request failed.
        """
        target = self._url(path, query)
        headers = {"Accept": accept, "Content-Type": content_type}
        for _ in range(_PAUSED_ATTEMPTS - 1):
            try:
                return await self._send(method, target, path, body, headers, decode)
            except Unavailable as error:
                if not error.retry_after:
                    raise
                log.info("%s; sending it again in %g s", error, error.retry_after)
                await asyncio.sleep(error.retry_after)
        return await self._send(method, target, path, body, headers, decode)

    async def follow(
        self,
        path: str,
        query: dict[str, str],
        on_line: Callable[[bytes], None],
        stream: Stream = WATCH,
    ) -> None:
        """Send a GET whose response is a stream of lines, and pass each on until it ends.

        A stream that breaks ends as well: what follows it is a new stream in either case.

        Args:
            path: what to read.
            query: of the request.
            on_line: is called with each line.
            stream: how it is read.

        Raises:
            ClusterError: the request failed before the stream began.
        """
        request = f"GET {path}"
        headers = {"Accept": stream.accept, "Content-Type": JSON}
        # `connect` covers a proxy on the way, whose answer has no other limit.
        timeout = aiohttp.ClientTimeout(
            connect=2 * _CONNECT_SECONDS,
            sock_connect=_CONNECT_SECONDS,
            sock_read=stream.silent_seconds,
        )
        try:
            await self._authorize(headers, "GET", path)
            response = await self.client.call_api(
                "GET", self._url(path, query), headers, _request_timeout=timeout
            )
        except _NO_RESPONSE as error:
            # Whether the API server is available is judged by requests: a proxy may hold streams.
            raise Unavailable(0, f"{type(error).__name__}: {error}", request) from error
        except Redirected as error:
            raise ClusterError(error.status, str(error), request) from error
        API_REQUESTS.labels(method="GET", status=str(response.status)).inc()
        try:
            if response.status >= 300:
                raise error_of(response.status, response.headers, await response.read(), request)
            lines = Lines(stream.longest)
            # Not by readline: a line may be longer than its limit.
            async for chunk in response.response.content.iter_any():
                for line in lines.feed(chunk):
                    on_line(line)
            if stream.longest is not None and lines.end():
                on_line(lines.end())
        except _NO_RESPONSE as error:
            log.debug("%s ended: %s: %s", request, type(error).__name__, error)
        finally:
            response.response.close()

    async def _authorize(self, headers: dict[str, str], method: str, path: str) -> None:
        """Add the token to the headers of a request; the client reads it anew every minute.

        Raises:
            OSError: the token cannot be used at the moment.
        """
        try:
            await self.client.update_params_for_auth(
                headers, [], ["BearerToken"], path, method, None
            )
        except (ConfigException, ValueError) as error:
            raise OSError(f"the token cannot be used: {error}") from error
        if not all(map(str.isprintable, headers.values())):
            raise OSError("the token cannot be used: it contains a control character")

    def _url(self, path: str, query: dict[str, str] | None) -> URL:
        url = f"{self.client.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        # Encoded already: by default yarl decodes and resolves what looks like a relative path.
        return URL(url, encoded=True)

    def _timeout(self, method: str, request: str) -> float:
        """Return the timeout of a request in seconds; a write must not outlive the Lease.

        Raises:
            Fenced: the request is a write, and this replica may have lost the Lease.
        """
        if method == "GET":
            return _REQUEST_SECONDS
        # Read once: a second look might find 0 seconds, which aiohttp takes for no timeout at all.
        return min(_REQUEST_SECONDS, self.fence.seconds_for(request))

    async def _send(
        self,
        method: str,
        url: URL,
        path: str,
        body: Object | list[Object] | str | None,
        headers: dict[str, str],
        decode: Decoder[Object],
    ) -> Object:
        request = f"{method} {path}"
        try:
            # A copy: the client adds a token, which may change before the next attempt.
            headers = {**headers}
            await self._authorize(headers, method, path)
            response = await self.client.call_api(
                method, url, headers, body, _request_timeout=self._timeout(method, request)
            )
            text = await _read(response, decode.longest)
        except _NO_RESPONSE as error:
            self.availability.record_failure(error)
            raise Unavailable(0, f"{type(error).__name__}: {error}", request) from error
        except Redirected as error:
            raise ClusterError(error.status, str(error), request) from error
        API_REQUESTS.labels(method=method, status=str(response.status)).inc()
        self.date = response.headers.get("Date")
        if response.status >= 300:
            self.availability.record_response()
            raise error_of(response.status, response.headers, text, request)
        try:
            decoded = decode(text)
        except NotADocument as error:
            # Such as the page of a proxy that answers for an API server that is away.
            self.availability.record_failure(error)
            reason = f"the answer is not of an API server: {error}"
            raise Unavailable(response.status, reason, request) from error
        self.availability.record_response()
        return decoded


async def _read(response: RESTResponse, longest: int | None) -> bytes:
    """Return the body of a response, at most its first bytes where there is a limit."""
    if longest is None:
        body: bytes = await response.read()
        return body
    parts, rest = list[bytes](), longest
    while rest > 0 and (part := await response.response.content.read(rest)):
        parts.append(part)
        rest -= len(part)
    # A connection with the rest of a response cannot be used again.
    response.response.close()
    return b"".join(parts)
