"""What the supervisor asks vLLM over HTTP on this host: health, one chat, metrics, configuration.

``canary`` and ``watch`` call it. Every answer is bounded in time and size, and whatever is not what
it should be becomes `EngineUnreachableError`.
"""

import json
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from mistral_server.contract import SERVER_TOKEN_HEADER, ServerSettings
from mistral_server.engine import vllm_metrics

RESPONSE_LIMIT_BYTES = 16 * 1024 * 1024
"""Bytes of an answer that are read; a healthy ``/metrics`` has some 60 KB."""

METRICS_SECONDS = 10.0
"""An API process under full load answers in well under a second."""

CHAT_SECONDS = 300.0
"""The first chat after a start may compile kernels."""


class EngineUnreachableError(Exception):
    """The API process did not answer, or not with what was asked for."""


@dataclass(frozen=True)
class EngineResponse:
    """An HTTP answer."""

    status: int
    text: str

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object, an empty one if it is something else."""
        try:
            value = json.loads(self.text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class EngineClient:
    """A client of the API server of this pod. Use as an asynchronous context manager.

    Args:
        settings: where the server listens.
        token: by which the gate knows the supervisor.
    """

    def __init__(self, settings: ServerSettings, token: str) -> None:
        self._base = f"http://{_local_address(settings.host)}:{settings.port}"
        self._model = settings.model.served_name
        self._headers = {SERVER_TOKEN_HEADER: token}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        # trust_env stays off: a proxy must not come between two processes of one pod.
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def healthy(self) -> bool:
        """Return whether the API process listens and says that its engine exists."""
        try:
            return (await self._request("GET", "/health", METRICS_SECONDS)).status == 200
        except EngineUnreachableError:
            return False

    async def chat(self) -> EngineResponse:
        """Return the answer to a chat of one token, the cheapest request that uses everything."""
        request = {
            "model": self._model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        return await self._request("POST", "/v1/chat/completions", CHAT_SECONDS, request)

    async def metrics(self) -> vllm_metrics.EngineMetrics:
        """Return what the engine counts."""
        response = await self._request("GET", "/metrics", METRICS_SECONDS)
        if response.status != 200:
            raise EngineUnreachableError(f"/metrics returned {response.status}")
        return vllm_metrics.parse(response.text)

    async def version(self) -> str | None:
        """Return vLLM's version as it reports it."""
        version = (await self._request("GET", "/version", METRICS_SECONDS)).json().get("version")
        return version if isinstance(version, str) else None

    async def context_length(self) -> int | None:
        """Return the tokens of prompt and answer together that the engine settled on."""
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
                method, self._base + path, json=body, timeout=timeout
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


def _local_address(host: str) -> str:
    if host == "0.0.0.0":  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
