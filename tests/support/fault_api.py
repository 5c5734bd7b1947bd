"""The API server of a test's cluster for tests, without a process per request."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp

from mistral_dev.cluster import Cluster
from mistral_dev.errors import DevError
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind

Object = dict[str, Any]

NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
POLL_SECONDS = 0.2


class Refused(Exception):
    """The API server refused a request.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class Api:
    """Requests of the administrator; use it as a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def __aenter__(self) -> Self:
        """Open the connections."""
        pki = self.cluster.layout.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        headers = {"User-Agent": "test"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Object:
        """Send a request and return the response.

        Raises:
            Refused: the response is an error.
        """
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method,
            f"{self.cluster.api_url}{path}",
            data=data,
            headers={"Content-Type": content_type},
        ) as response:
            content = await response.read()
            if response.status >= 300:
                raise Refused(response.status, content.decode(errors="replace")[:500])
            decoded: Object = json.loads(content)
            return decoded

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, or None if there is none."""
        try:
            return await self.request("GET", kind.path(namespace, name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Object]:
        """Return the objects of a kind in a namespace."""
        query = f"?labelSelector={selector}" if selector else ""
        items: list[Object] = (await self.request("GET", kind.path(namespace) + query))["items"]
        return items

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object."""
        return await self.request("POST", kind.path(namespace), body)

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        """Merge a patch into an object."""
        path = kind.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self.request("PATCH", path, patch, "application/merge-patch+json")

    async def delete(self, kind: Kind, namespace: str, name: str, *, force: bool = False) -> None:
        """Delete an object and what it owns, unless it was deleted."""
        options: Object = {"propagationPolicy": "Background"}
        if force:
            options["gracePeriodSeconds"] = 0
        try:
            await self.request("DELETE", kind.path(namespace, name), options)
        except Refused as error:
            if error.status != 404:
                raise

    async def create_namespace(self, name: str) -> None:
        """Create a namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.request("POST", NAMESPACE.path(), body)

    async def pods_created(self, namespace: str, start: int) -> int:
        """Return how many pods were created in a namespace since an audit position."""

        def count() -> int:
            return sum(
                event["verb"] == "create"
                and event.get("objectRef", {}).get("resource") == "pods"
                and "subresource" not in event["objectRef"]
                and event["objectRef"].get("namespace") == namespace
                and event["responseStatus"]["code"] == 201
                for event in self.cluster.audit_events(start)
            )

        return await asyncio.to_thread(count)

    async def event_reasons(self, namespace: str) -> Counter[str]:
        """Return how often each reason is counted on the Events of a namespace."""
        counted: Counter[str] = Counter()
        for one in await self.list(kinds.EVENT, namespace):
            if one["involvedObject"].get("kind") == kinds.RESOURCE.kind:
                counted[one["reason"]] += one["count"]
        return counted


async def until(
    condition: Callable[[], Awaitable[bool]], description: str, seconds: float = 60
) -> float:
    """Wait until a condition holds; return how long that took.

    Raises:
        DevError: it did not hold in time.
    """
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > seconds:
            raise DevError(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - started
