"""The supervisor's HTTP client for vLLM on this host: health, one chat, metrics, configuration.

Used by ``canary``, ``drain`` and ``engine_watch``. Every response is limited in time and size. An
unexpected one raises `EngineUnreachableError`.
"""

import json
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from mistral_server.contract import SERVER_TOKEN_HEADER, ServerSettings
from mistral_server.engine import vllm_metrics
from mistral_server.engine.addresses import local_host

RESPONSE_LIMIT_BYTES = 16 * 1024 * 1024
"""Maximum size of a response; a typical ``/metrics`` has 60 KB."""

METRICS_SECONDS = 10.0
"""Request timeout. An API process under full load responds in well under a second."""

CHAT_SECONDS = 300.0
"""Timeout of a chat. The first one after a start may compile kernels."""


class EngineUnreachableError(Exception):
    """The API process did not respond, or its response was not the expected one."""


@dataclass(frozen=True)
class EngineResponse:
    """An HTTP response."""

    status: int
    text: str

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object, or an empty one if it is not an object."""
        try:
            value = json.loads(self.text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class EngineClient:
    """Client of the API server of this pod, an asynchronous context manager.

    Args:
        settings: the server's settings, with its address.
        token: authenticates the supervisor to the gate.
    """

    def __init__(self, settings: ServerSettings, token: str) -> None:
        self._base = f"http://{local_host(settings.host)}:{settings.port}"
        self._model = settings.model.served_name
        self._headers = {SERVER_TOKEN_HEADER: token}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        # trust_env stays off: no proxy between two processes of one pod.
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def healthy(self) -> bool:
        """Return whether the API process reports its engine as healthy."""
        try:
            return (await self._request("GET", "/health", METRICS_SECONDS)).status == 200
        except EngineUnreachableError:
            return False

    async def chat(self) -> EngineResponse:
        """Return the response to a chat of one token, the cheapest end-to-end request."""
        request = {
            "model": self._model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        return await self._request("POST", "/v1/chat/completions", CHAT_SECONDS, request)

    async def metrics(self) -> vllm_metrics.EngineMetrics:
        """Return the engine's metrics."""
        response = await self._request("GET", "/metrics", METRICS_SECONDS)
        if response.status != 200:
            raise EngineUnreachableError(f"/metrics returned {response.status}")
        return vllm_metrics.parse(response.text)

    async def version(self) -> str | None:
        """Return the version that vLLM reports."""
        version = (await self._request("GET", "/version", METRICS_SECONDS)).json().get("version")
        return version if isinstance(version, str) else None

    async def context_length(self) -> int | None:
        """Return the engine's context length: tokens of prompt and response together."""
        response = await self._request("GET", "/v1/models", METRICS_SECONDS)
        models = response.json().get("data")
        for model in models if isinstance(models, list) else []:
            if isinstance(model, dict) and isinstance(model.get("max_model_len"), int):
                return int(model["max_model_len"])
        return None

    async def _request(
        self, method: str, path: str, seconds: float, body: dict[str, Any] | None = None
    ) -> EngineResponse:
        if self._session is None:
            raise RuntimeError("EngineClient is used outside its context")
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, self._base + path, json=body, timeout=timeout, allow_redirects=False
            ) as response:
                text = await _bounded(response)
                return EngineResponse(response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineUnreachableError(f"{path}: {type(error).__name__}: {error}") from error


async def _bounded(response: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > RESPONSE_LIMIT_BYTES:
            raise EngineUnreachableError(f"response larger than {RESPONSE_LIMIT_BYTES} bytes")
    return body.decode(errors="replace")
