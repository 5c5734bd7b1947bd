"""Requests to the Kubernetes API: apply, get, list, delete, post."""

import logging
import random
from collections.abc import AsyncIterator, Callable

from tenacity import (
    RetryCallState,
    retry,
    retry_if_exception_type,
    wait_random_exponential,
)

from mistral_operator.kube import names
from mistral_operator.kube.apply_text import CONTENT_TYPE, apply_text
from mistral_operator.kube.documents import (
    LIVE_OBJECT,
    METADATA_LIST,
    OBJECT_LIST,
    SERVED_KINDS,
    WATCH_EVENT,
    NotADocument,
    WatchEvent,
)
from mistral_operator.kube.errors import (
    ClusterError,
    KindMissing,
    Occupied,
    Unavailable,
    WatchFailed,
)
from mistral_operator.kube.kinds import EVENT, RESOURCE, Kind, kind_of
from mistral_operator.kube.transport import Object, Transport

log = logging.getLogger(__name__)

_LARGE_PAGE = 500
"""Objects of a page of small objects, such as metadata."""
_PAGE = 100
"""Objects of a page. A page of 500 Deployments takes 35 MB when it is decoded."""
_RESOURCE_PAGE = 50
"""Resources are the largest objects, and the only ones that users write in full: a page of the
largest ones stays below 40 MB."""
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_WATCH_SECONDS = 240, 300
"""Shortest and longest time of a watch. Different ones, so that not all begin anew at once."""
_BAD_GATEWAY = 502
_NO_VERSION = "1"
"""Resource version that no object has: the first write of etcd is its second revision. An apply
with it creates an object, and is rejected if one of the name exists."""


def _log_first_failure(state: RetryCallState) -> None:
    """Log the first failure only: an outage may last long."""
    level = logging.WARNING if state.attempt_number == 1 else logging.DEBUG
    log.log(level, "%s", state.outcome and state.outcome.exception())


_random = wait_random_exponential(multiplier=0.5, max=5)


def back_off(state: RetryCallState) -> float:
    """Return the delay of the next attempt: a random back-off, at least Retry-After."""
    error = state.outcome and state.outcome.exception()
    retry_after = error.retry_after if isinstance(error, Unavailable) else 0.0
    return max(retry_after, _random(state))


retry_while_unavailable = retry(
    retry=retry_if_exception_type(Unavailable),
    wait=back_off,
    before_sleep=_log_first_failure,
)
"""Decorator that retries a function while the API server is unavailable.

The API server responds with 429 for some seconds after a CRD was created, and not at all during an
upgrade. The maximum delay is short, since the caller cannot continue meanwhile.
"""


class Cluster(Transport):
    """The API server, by the requests that the operator sends."""

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

    async def try_apply(self, desired: Object) -> None:
        """Have the API server check an object, as for `apply` with force, and change nothing.

        Raises:
            ClusterError: it would not accept the object.
        """
        metadata = desired["metadata"]
        kind = kind_of(desired["apiVersion"], desired["kind"])
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true", "dryRun": "All"}
        # An object that does not exist has no version in the response either.
        await self.request("PATCH", path, query, apply_text(desired), CONTENT_TYPE)

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
        text = apply_text(body)
        return await self.request("PATCH", path, query, text, CONTENT_TYPE, decode=LIVE_OBJECT)

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
        media_type = "application/json-patch+json"
        return await self.request("PATCH", path, query, operations, media_type, decode=LIVE_OBJECT)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        try:
            return await self.request("GET", kind.path(namespace, name), decode=LIVE_OBJECT)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        uid: str,
        version: int | None = None,
        *,
        foreground: bool = False,
    ) -> None:
        """Delete an object, unless it was deleted or replaced by another of the same name.

        Args:
            kind: of the object.
            namespace: of the object.
            name: of the object.
            uid: of the object.
            version: delete it only in this resource version; None deletes any.
            foreground: the object is there until what it owns is deleted.

        Raises:
            Unavailable: also if the object changed at the same time and still exists.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid}
            | ({} if version is None else {"resourceVersion": str(version)}),
            "propagationPolicy": "Foreground" if foreground else "Background",
        }
        try:
            await self.request("DELETE", kind.path(namespace, name), body=body)
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
            query = {"limit": str(_LARGE_PAGE), "resourceVersion": "0"}
        if selector is not None:
            query["labelSelector"] = selector
        while True:
            page = await self._page(kind, namespace, query, metadata_only=metadata_only)
            # An empty list has `items: null`.
            yield page["items"] or [], int(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token
            query.pop("resourceVersion", None)  # the token includes it

    async def _page(
        self, kind: Kind, namespace: str | None, query: dict[str, str], *, metadata_only: bool
    ) -> Object:
        path = kind.path(namespace)
        try:
            if metadata_only:
                return await self.request(
                    "GET", path, query, accept=_METADATA, decode=METADATA_LIST
                )
            return await self.request("GET", path, query, decode=OBJECT_LIST)
        except ClusterError as error:
            if error.status != 404:
                raise
            name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            reason = f"the API server does not serve {name}; waiting until its CRD is installed"
            raise KindMissing(404, reason, f"GET {path}") from error

    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str | None,
        version: int,
        on_event: Callable[[WatchEvent, int], None],
    ) -> None:
        """Watch a kind until the stream ends, which it does after some minutes.

        Args:
            kind: kind to watch.
            namespace: namespace to watch; all if None.
            selector: label selector.
            version: resource version of a list; later changes are reported.
            on_event: receives each event and its resource version.

        Raises:
            WatchFailed: the API server sent an error in the watch. Changes since the version may
                be lost: with status 410, it does not remember them any more.
            ClusterError: it refused the watch.
        """
        path = kind.path(namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(version),
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),  # noqa: S311 - no secret
        }
        if selector is not None:
            query["labelSelector"] = selector

        def on_line(line: bytes) -> None:
            try:
                event = WATCH_EVENT(line)
                if event.type == "ERROR":
                    raise _watch_failed(event.object, f"GET {path}")
                on_event(event, event.version)
            except NotADocument as error:
                reason = f"the answer is not a watch: {error}"
                raise WatchFailed(_BAD_GATEWAY, reason, f"GET {path}") from error

        await self.follow(path, query, on_line)

    async def list_some(
        self, kind: Kind, namespace: str | None, field_selector: str = ""
    ) -> list[Object]:
        """Return at most a page of the objects of a kind."""
        query = {"limit": str(_LARGE_PAGE)} | (
            {"fieldSelector": field_selector} if field_selector else {}
        )
        page = await self._page(kind, namespace, query, metadata_only=False)
        return page["items"] or []

    async def post_event(self, namespace: str, event: Object) -> None:
        """Create an Event."""
        await self.request("POST", EVENT.path(namespace), body=event)

    async def serves(self, kind: Kind) -> bool:
        """Return whether the API server serves a kind."""
        try:
            path = f"/apis/{kind.api_version}"
            response = await self.request("GET", path, decode=SERVED_KINDS)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(one["name"] == kind.plural for one in response["resources"])

    async def reachable(self) -> bool:
        """Return whether the API server responds."""
        try:
            await self.request("GET", "/version")
        except Unavailable:
            return False
        except ClusterError:
            return True  # it may refuse this, as where anonymous discovery is disabled
        return True


def _watch_failed(status: Object, request: str) -> WatchFailed:
    """Return the error that an event of the type ERROR says."""
    code, message = status.get("code"), status.get("message")
    return WatchFailed(code if isinstance(code, int) else _BAD_GATEWAY, str(message), request)
