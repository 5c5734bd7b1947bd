"""A connection to the fake API server without sockets, so that a request takes no time at all."""

import asyncio
import json
from typing import Any, NamedTuple

from kubernetes.aio.client import Configuration
from yarl import URL

from fake_api_server import FakeApiServer, Request
from fake_objects import ApiError
from mistral_operator.kube.client import Cluster


class _Response(NamedTuple):
    """What `kube/transport.py` reads of a response."""

    status: int
    text: str
    headers: dict[str, str]

    async def read(self) -> str:
        return self.text


class InProcessClient:
    """Calls the fake API server instead of connecting to it, with the methods of `ApiClient`."""

    def __init__(self, api: FakeApiServer) -> None:
        self._api = api
        self.configuration = Configuration(host="http://in-process")

    async def update_params_for_auth(self, *_: Any) -> None:
        """Add nothing: every caller is trusted."""

    async def close(self) -> None:
        """Close nothing."""

    async def call_api(
        self, method: str, url: URL, headers: dict[str, str], body: Any = None, **_: Any
    ) -> _Response:
        """Return the response; a caller that is canceled leaves the request under way."""
        content_type = headers["Content-Type"].partition(";")[0]
        request = Request(method, url.path, dict(url.query), content_type)
        # As text, so that nothing is shared with the server.
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        return await asyncio.shield(asyncio.ensure_future(self._response(request, text)))

    async def _response(self, request: Request, text: str) -> _Response:
        try:
            return _Response(200, json.dumps(await self._api.answer(request, text)), {})
        except ApiError as error:
            return _Response(error.status, json.dumps(error.document), {})


def connected(api: FakeApiServer) -> Cluster:
    """Return a connection to an API server in this process."""
    return Cluster(InProcessClient(api))
