"""The only module that sends requests to the Kubernetes API: apply, get, list, delete, post.

It uses the transport of the official client (connections, certificates, tokens and their renewal)
with objects as plain data. Its model classes would double the CPU time of a fleet's start.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from tenacity import (
    RetryCallState,
    retry,
    retry_if_exception_type,
    wait_random_exponential,
)
from yarl import URL

from mistral_operator.kube import names
from mistral_operator.kube.apply_text import CONTENT_TYPE, apply_text
from mistral_operator.kube.availability import Availability
from mistral_operator.kube.credentials import load_configuration
from mistral_operator.kube.errors import ClusterError, KindMissing, Occupied, Unavailable
from mistral_operator.kube.failures import error_of
from mistral_operator.kube.fence import Fence
from mistral_operator.kube.kinds import EVENT, RESOURCE, Kind, kind_of
from mistral_operator.metrics import API_REQUESTS

log = logging.getLogger(__name__)

Object = dict[str, Any]

_REQUEST_SECONDS = 30
_PAGE = 500
_RESOURCE_PAGE = 50
"""Resources are the largest objects, and the only ones that users write in full: a page of the
largest ones stays below 40 MB."""
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_NO_VERSION = "1"
"""Resource version that no object has: the first write of etcd is its second revision. An apply
with it creates an object, and is rejected if one of the name exists."""
_PAUSED_ATTEMPTS = 4
"""Maximum attempts of a request while responses have Retry-After; client-go uses 10."""


def _log_first_failure(state: RetryCallState) -> None:
    """Log the first failure only: an outage may last long."""
    level = logging.WARNING if state.attempt_number == 1 else logging.DEBUG
    log.log(level, "%s", state.outcome and state.outcome.exception())


_backoff = wait_random_exponential(multiplier=0.5, max=5)


def _pause(state: RetryCallState) -> float:
    """Return the delay of the next attempt: a random back-off, at least Retry-After."""
    error = state.outcome and state.outcome.exception()
    retry_after = error.retry_after if isinstance(error, Unavailable) else 0.0
    return max(retry_after, _backoff(state))


retry_while_unavailable = retry(
    retry=retry_if_exception_type(Unavailable),
    wait=_pause,
    before_sleep=_log_first_failure,
)
"""Decorator that retries a function while the API server is unavailable.

The API server responds with 429 for some seconds after a CRD was created, and not at all during an
upgrade. The maximum delay is short, since the caller cannot continue meanwhile.
"""


class Cluster:
    """A connection to the API server, as a context manager."""

    def __init__(self, client: ApiClient, fence: Fence | None = None) -> None:
        self.client = client
        self.fence = fence or Fence()
        """Blocks writes while this replica may have lost the Lease."""
        self.availability = Availability()
        """Availability of the API server."""

    @classmethod
    async def connect(cls, connections: int, kubeconfig: str | None = None) -> Self:
        """Connect with the pod's service account or, outside a cluster, with a kubeconfig.

        Args:
            connections: maximum number of concurrent requests.
            kubeconfig: path of a kubeconfig; default $KUBECONFIG, then ~/.kube/config.

        Raises:
            CannotStart: there are no usable credentials.
        """
        return cls(ApiClient(await load_configuration(connections, kubeconfig)))

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

    async def create(self, desired: Object) -> Object:
        """Create an object by server-side apply and return the live one.

        A plain POST would make this manager own the fields a second time, as an update, and a later
        apply could not remove any.

        Raises:
            Occupied: an object of this name exists, whatever its fields. It is left as it is.
        """
        metadata = {**desired["metadata"], "resourceVersion": _NO_VERSION}
        try:
            return await self.apply({**desired, "metadata": metadata}, force=False)
        except ClusterError as error:
            if error.status == 409:
                raise Occupied(409, error.reason, str(error)) from error
            raise

    async def apply(self, desired: Object, *, force: bool, uid: str | None = None) -> Object:
        """Server-side apply an object and return the live one.

        Args:
            desired: the object, with exactly the fields that the operator owns.
            force: take over fields of other managers. Without it a conflict raises.
            uid: of the object to change; None also creates one.

        Raises:
            ClusterError: with status 409, other managers own fields of the object, or there is none
                although a uid was expected. With status 422, the object has another uid.
        """
        metadata = desired["metadata"]
        kind = kind_of(desired["apiVersion"], desired["kind"])
        path = kind.path(metadata["namespace"], metadata["name"])
        if uid is not None:
            desired = {**desired, "metadata": {**metadata, "uid": uid}}
        return await self._apply(path, desired, force=force)

    async def apply_status(self, name: str, namespace: str, version: int, status: Object) -> Object:
        """Server-side apply the status of a resource and return the live resource.

        Args:
            name: of the resource.
            namespace: of the resource.
            version: resource version to change. The API server ignores a uid here, and this is the
                only way not to write to a resource that was deleted and created anew.
            status: the status, with exactly the fields that the operator owns.

        Raises:
            ClusterError: with status 404, there is no resource of this name.
            Unavailable: with status 409, the resource has another version.
        """
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)},
            "status": status,
        }
        path = RESOURCE.path(namespace, name, "status")
        return await self._apply(path, body, force=True)

    async def _apply(self, path: str, body: Object, *, force: bool) -> Object:
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._request("PATCH", path, query, apply_text(body), CONTENT_TYPE)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        operations: list[Object],
        subresource: str = "",
    ) -> Object:
        """Patch an object with JSON Patch operations and return the live one."""
        query = {"fieldManager": names.FIELD_MANAGER}
        path = kind.path(namespace, name, subresource)
        return await self._request("PATCH", path, query, operations, "application/json-patch+json")

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        try:
            return await self._request("GET", kind.path(namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete an object, unless it was deleted or replaced by another of the same name.

        Raises:
            Unavailable: also if the object changed at the same time and still exists.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._request("DELETE", kind.path(namespace, name), body=body)
        except ClusterError as error:
            if error.status == 404:
                return
            if error.status != 409 or await self._exists(kind, namespace, name, uid):
                raise

    async def _exists(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        body = await self.get(kind, namespace, name)
        return body is not None and body["metadata"]["uid"] == uid

    async def list_pages(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str | None,
        *,
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[list[Object], int]]:
        """Yield the objects of a kind in pages, each with the resource version of the list.

        Args:
            kind: kind to list.
            namespace: namespace to list; all if None.
            selector: label selector.
            metadata_only: list metadata without spec and status, from the watch cache of the API
                server. It may be older than the storage.
        """
        query = {"limit": str(_RESOURCE_PAGE if kind == RESOURCE else _PAGE)}
        if metadata_only:
            query = {"limit": str(_PAGE), "resourceVersion": "0"}
        if selector is not None:
            query["labelSelector"] = selector
        while True:
            page = await self._page(kind, namespace, query, _METADATA if metadata_only else _JSON)
            # An empty list of metadata has `items: null`.
            yield page["items"] or [], int(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token
            query.pop("resourceVersion", None)  # the token includes it

    async def _page(
        self, kind: Kind, namespace: str | None, query: dict[str, str], accept: str
    ) -> Object:
        path = kind.path(namespace)
        try:
            return await self._request("GET", path, query, accept=accept)
        except ClusterError as error:
            if error.status != 404:
                raise
            name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            reason = f"the API server does not serve {name}; waiting until its CRD is installed"
            raise KindMissing(404, reason, f"GET {path}") from error

    async def post_event(self, namespace: str, event: Object) -> None:
        """Create an Event."""
        await self._request("POST", EVENT.path(namespace), body=event)

    async def serves(self, kind: Kind) -> bool:
        """Return whether the API server serves a kind."""
        try:
            response = await self._request("GET", f"/apis/{kind.api_version}")
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(one["name"] == kind.plural for one in response["resources"])

    async def reachable(self) -> bool:
        """Return whether the API server responds."""
        try:
            await self._request("GET", "/version")
        except Unavailable:
            return False
        return True

    def _timeout(self, method: str, request: str) -> float:
        """Return the timeout of a request in seconds; a write must not outlive the Lease.

        Raises:
            Fenced: the request is a write, and this replica may have lost the Lease.
        """
        if method == "GET":
            return _REQUEST_SECONDS
        # Read once: a second look might find 0 seconds, which aiohttp takes for no timeout at all.
        return min(_REQUEST_SECONDS, self.fence.seconds_for(request))

    async def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | list[Object] | str | None = None,
        content_type: str = "application/json",
        accept: str = _JSON,
    ) -> Object:
        """Send a request, retry it after the delay of Retry-After, and return the response.

        Raises:
            ClusterError: the request failed.
        """
        url = f"{self.client.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        # Encoded already: by default yarl decodes and resolves what looks like a relative path.
        target = URL(url, encoded=True)
        headers = {"Accept": accept, "Content-Type": content_type}
        for _ in range(_PAUSED_ATTEMPTS - 1):
            try:
                return await self._send(method, target, path, body, headers)
            except Unavailable as error:
                if not error.retry_after:
                    raise
                log.info("%s; sending it again in %g s", error, error.retry_after)
                await asyncio.sleep(error.retry_after)
        return await self._send(method, target, path, body, headers)

    async def _send(
        self,
        method: str,
        url: URL,
        path: str,
        body: Object | list[Object] | str | None,
        headers: dict[str, str],
    ) -> Object:
        request = f"{method} {path}"
        try:
            # A copy: the client adds a token, which may change before the next attempt.
            headers = {**headers}
            await self.client.update_params_for_auth(
                headers, [], ["BearerToken"], path, method, body
            )
            response = await self.client.call_api(
                method, url, headers, body, _request_timeout=self._timeout(method, request)
            )
            text = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.availability.record_failure(error)
            raise Unavailable(0, f"{type(error).__name__}: {error}", request) from error
        self.availability.record_response()
        API_REQUESTS.labels(method=method, status=str(response.status)).inc()
        if response.status >= 300:
            raise error_of(response.status, response.headers, text, request)
        decoded: Object = json.loads(text)
        return decoded
