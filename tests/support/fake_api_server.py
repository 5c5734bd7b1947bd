"""A fake API server: responds to the requests of `kube/client.py` from objects in memory.

It uses `fake_objects` (versions, owners of fields, deletions, the watch feed) and
`fake_fields` (server-side apply). `fake_workloads` adds controllers and a kubelet.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import Object
from fake_objects import ApiError, FakeObjects
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key

_SERVED = (
    *kinds.CHILD_KINDS,
    kinds.RESOURCE,
    kinds.POD,
    kinds.NODE,
    kinds.CONFIG_MAP,
    kinds.EVENT,
    kinds.STORAGE_CLASS,
    *kinds.READ_BY_USERS,
)
_APPLY = "application/apply-patch+yaml"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of an escaped character beyond U+FFFF, which JSON knows and YAML does not."""


class Address(NamedTuple):
    """The object or collection of a path."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


class Request(NamedTuple):
    """What decides about the response to a request, besides its body."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str


class Write(NamedTuple):
    """One write, as tests distinguish writes."""

    verb: str
    """apply, status, patch, delete or post."""
    kind: str
    name: str

    def __str__(self) -> str:
        """Return it as a word or two."""
        return f"{self.verb} {self.kind} {self.name}"


Hook = Callable[[Write], Awaitable[None]]
"""Called before or after a write; an `ApiError` that it raises is the response."""


Stream = Callable[[dict[str, str]], AsyncIterator[str]]
"""Yields the parts of a log for the query of a request."""


@dataclass
class FakeApiServer:
    """Responds to requests from objects in memory, and records the writes."""

    objects: FakeObjects = field(default_factory=FakeObjects)
    optional_kinds: tuple[Kind, ...] = ()
    """Optional kinds that are installed."""
    writes: list[Write] = field(default_factory=list)
    """Every received write, rejected or not."""
    before_write: Hook | None = None
    after_write: Hook | None = None
    before_read: Callable[[str], ApiError | None] = lambda _: None
    """Returns why a read of a path is rejected."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of responses."""
    texts: dict[str, str] = field(default_factory=dict)
    """Logs, and what pods serve by way of the API server, by path."""
    silent: Callable[[str], bool] = lambda _: False
    """Tells whether a read of a path has no response, as one of a pod behind a NetworkPolicy."""

    streams: dict[str, Stream] = field(default_factory=dict)
    """What writes the lines of logs that are followed, by path."""

    def app(self) -> web.Application:
        """Return the application that serves it."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        """Serve, and return a connection."""
        async with TestServer(self.app()) as server:
            configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
            # As `Cluster.connect` does: ~/.netrc is not read in a thread.
            configuration.client_session_kwargs = {"trust_env": False}
            async with Cluster(ApiClient(configuration)) as made:
                yield made

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path in self.streams and self.before_read(request.path) is None:
            return await self._stream(request)
        text = await request.text()
        received = Request(request.method, request.path, dict(request.query), request.content_type)
        if self.silent(request.path):
            await asyncio.Event().wait()
        try:
            if request.path in self.texts and (error := self.before_read(request.path)) is None:
                return web.Response(text=self.texts[request.path])
            return web.json_response(await self.answer(received, text), headers=self.headers)
        except ApiError as error:
            return web.json_response(error.document, status=error.status)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for text in self.streams[request.path](dict(request.query)):
            await response.write(text.encode())
        return response

    async def answer(self, request: Request, text: str) -> Any:
        """Return the body of the response to a request.

        Raises:
            ApiError: the request is rejected.
        """
        if request.content_type == _APPLY and _SURROGATE.search(text):
            message = "error decoding YAML: found invalid Unicode character escape code"
            raise ApiError(400, "BadRequest", message)
        body = json.loads(text) if text else None
        if request.path == "/version":
            return {"gitVersion": "v1.36.0"}
        address = self._address(request.path)
        if address is None:
            return self._discovery(request.path)
        query = request.query
        if request.method == "GET":
            error = self.before_read(request.path)
            if error is not None:
                raise error
            return self._read(address, query)
        write = _write_of(request, address, body)
        self.writes.append(write)
        if self.before_write is not None:
            await self.before_write(write)
        answer = self._carry_out(write, address, query, body)
        if self.after_write is not None:
            await self.after_write(write)
        return answer

    def _served(self) -> tuple[Kind, ...]:
        return (*_SERVED, *self.optional_kinds)

    def _address(self, path: str) -> Address | None:
        parts = path.strip("/").split("/")
        root = 2 if parts[0] == "api" else 3
        api_version, rest = "/".join(parts[1:root]), parts[root:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        for kind in self._served():
            if rest and (kind.api_version, kind.plural) == (api_version, rest[0]):
                name, subresource, *_ = [*rest[1:], "", ""]
                return Address(kind, namespace, name, subresource)
        return None

    def _discovery(self, path: str) -> Object:
        group = path.removeprefix("/apis/")
        served = [kind for kind in self._served() if kind.api_version == group]
        if not served:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return {"resources": [{"name": kind.plural} for kind in served]}

    def _read(self, address: Address, query: dict[str, str]) -> Object:
        if address.name:
            return self.objects.get(address.kind, Key(address.namespace, address.name))
        items = [
            {key: one for key, one in body.items() if key not in {"apiVersion", "kind"}}
            for body in self.objects.all(address.kind)
            if is_selected(body, address.namespace, query.get("labelSelector", ""))
            and _is_about(body, query.get("fieldSelector", ""))
        ]
        return {"metadata": {"resourceVersion": str(self.objects.version)}, "items": items}

    def _carry_out(
        self, write: Write, address: Address, query: dict[str, str], body: Any
    ) -> Object:
        kind, key = address.kind, Key(address.namespace, address.name)
        if write.verb == "post":
            return self.objects.create(kind, body, manager="mistral-operator")
        if write.verb == "delete":
            preconditions = (body or {}).get("preconditions", {})
            self.objects.delete(
                *(kind, key, preconditions.get("uid"), preconditions.get("resourceVersion")),
                foreground=(body or {}).get("propagationPolicy") == "Foreground",
            )
            return {"kind": "Status", "status": "Success"}
        if write.verb == "patch":
            return self.objects.update(
                *(kind, key, lambda live: patched(live, body)),
                manager=query["fieldManager"],
                status=address.subresource == "status",
            )
        return self.objects.apply(
            *(kind, key, body),
            manager=query["fieldManager"],
            force=query.get("force") == "true",
            status=write.verb == "status",
        )


def _write_of(request: Request, address: Address, body: Any) -> Write:
    """Return the write of a request; a request that the operator never sends is a bug."""
    verb = request.method.lower()
    if verb == "patch" and request.content_type == _APPLY:
        verb = address.subresource or "apply"
    if verb not in {"apply", "status", "patch", "delete", "post"}:
        raise ApiError(405, "MethodNotAllowed", f"{request.method} {request.path}")
    return Write(verb, address.kind.kind, address.name or body["metadata"]["name"])


def is_selected(body: Object, namespace: str, selector: str) -> bool:
    labels = body["metadata"].get("labels", {})
    if namespace and body["metadata"].get("namespace") != namespace:
        return False
    terms = [one.partition("=") for one in selector.split(",") if one]
    return all(labels.get(key) == value for key, _, value in terms)


def _is_about(body: Object, selector: str) -> bool:
    """Tell whether an Event is about the object of a field selector, or has its name."""
    field, _, value = selector.partition("=")
    if field == "metadata.name":
        return bool(body["metadata"]["name"] == value)
    return not value or body.get("involvedObject", {}).get("uid") == value


def patched(live: Object, operations: list[Object]) -> Object:
    """Return an object after JSON Patch operations.

    Raises:
        ApiError: a test does not hold, or a path does not exist.
    """
    result = json.loads(json.dumps(live))
    for one in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]
        ]
        parent = result
        try:
            for part in parents:
                parent = parent[int(part)] if isinstance(parent, list) else parent[part]
            _operate(parent, int(last) if isinstance(parent, list) else last, one)
        except (LookupError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {one}"
            raise ApiError(422, "Invalid", message) from error
    changed: Object = result
    return changed


def _operate(parent: Any, last: Any, operation: Object) -> None:
    match operation["op"]:
        case "test":
            if parent[last] != operation["value"]:
                raise LookupError(last)
        case "replace":
            parent[last]  # `replace` needs an existing value
            parent[last] = operation["value"]
        case "add" if isinstance(parent, list):
            parent.insert(last, operation["value"])
        case "add":
            parent[last] = operation["value"]
        case "remove":
            del parent[last]
