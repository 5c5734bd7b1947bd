"""Requests to the tiny checkpoint, and what a client gets.

The model's weights are random. `allowed_token_ids` forces a loop, and `logit_bias` on the format's
control tokens forces tool calls.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from mistral_server.contract import SERVER_TOKEN_ENV, SERVER_TOKEN_HEADER
from mistral_server.gate.scrapes import MAX_AGE_SECONDS
from server_runner import RunningServer
from tapped.engine_tap import TAP_HEADER

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ALL_AT_ONCE = 8
"""Sequences that these servers compute at the same time."""
LEFT = 8 * ALL_AT_ONCE
"""Generations of a client that does not wait for them."""

LOOP: dict[str, Any] = {"allowed_token_ids": [1100], "temperature": 0}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "strict": True,
    },
}
TOOLS: dict[str, Any] = {"tools": [TOOL], "parallel_tool_calls": False}
CALL: dict[str, Any] = {"logit_bias": {"9": 90, "32": 90, "2": 100, "1125": 60}, **TOOLS}
"""A call that ends: [TOOL_CALLS], [ARGS], end of sequence and a closing brace."""
ENDLESS_CALL: dict[str, Any] = {
    "logit_bias": {"9": 90, "32": 90, "2": -100},
    "temperature": 0,
    "max_tokens": 60,
    "tools": [
        {
            "type": "function",
            "function": {
                **TOOL["function"],
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "minLength": 1000}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ],
    "parallel_tool_calls": False,
}
"""A call whose arguments have no end yet. Random weights generate different text on other CPUs, and
on one kind they closed an object that may be empty."""


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The answer, decoded."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The events of a stream."""
        data = [line.removeprefix("data: ") for line in self.body.splitlines() if line]
        assert data[-1] == "[DONE]"
        return [json.loads(one) for one in data[:-1]]

    @property
    def finishes(self) -> list[str]:
        """How each choice ended, as the client reads it."""
        answers = self.events if self.body.startswith("data:") else [self.json]
        choices = [choice for answer in answers for choice in answer["choices"]]
        return [one["finish_reason"] for one in choices if one.get("finish_reason")]

    @property
    def tool_name(self) -> str:
        """The name of the first call, as the client puts it together."""
        answers = self.events if self.body.startswith("data:") else [self.json]
        messages = [
            one.get("delta") or one.get("message") for each in answers for one in each["choices"]
        ]
        calls = [call for each in messages for call in each.get("tool_calls") or ()]
        return "".join(call["function"].get("name") or "" for call in calls)


def ask(
    server: RunningServer,
    path: str = CHAT,
    raw: bool = False,
    loops: str = "",
    tap: Path | None = None,
    **body: Any,
) -> Answer:
    """Send a request; `raw` goes past the gate, as the supervisor's own requests do.

    What the engine answers, before the gate sees it, is written to `tap`.
    """
    base = {"prompt": "Hi"} if path == COMPLETIONS else {"messages": [user("Hi")]}
    headers = {"content-type": "application/json"}
    if raw:
        headers[SERVER_TOKEN_HEADER] = token(server)
    if loops:
        headers["X-Mistral-Loops"] = loops
    if tap is not None:
        headers[TAP_HEADER] = str(tap)
    request = Request(
        f"http://127.0.0.1:{server.settings.port}{path}",
        json.dumps({"model": "tiny", "max_tokens": 8, **base, **body}).encode(),
        headers,
    )
    try:
        with urlopen(request, timeout=120) as answer:  # noqa: S310 - our own loopback address
            sent = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, sent, answer.read().decode())
    except HTTPError as error:
        sent = {name.lower(): value for name, value in error.headers.items()}
        return Answer(error.code, sent, error.read().decode())


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def token(server: RunningServer) -> str:
    """Return the supervisor's token, from the environment of the engine."""
    pid = server.pid_of("-m vllm.entrypoints")
    content = Path(f"/proc/{pid}/environ").read_bytes()
    variables = dict(one.partition(b"=")[::2] for one in content.split(b"\0"))
    return variables[SERVER_TOKEN_ENV.encode()].decode()


def exposition(server: RunningServer) -> str:
    """Return the metrics of the API, the gate's among them, as they are now."""
    time.sleep(MAX_AGE_SECONDS)  # what was rendered before is sent for as long
    return server.get("/metrics", health=False)[1]


def refused(server: RunningServer, reason: str) -> float:
    """Return how many requests were refused for a reason."""
    line = f'mistral_requests_refused_total{{reason="{reason}"}} '
    (value,) = (
        one.removeprefix(line) for one in exposition(server).splitlines() if one.startswith(line)
    )
    return float(value)


SHAPES: dict[str, dict[str, Any]] = {
    "chat": {},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "usage": {"stream_options": {"include_usage": True}},
    "call": {"max_tokens": 60, **CALL},
    "required": {"max_tokens": 60, "tool_choice": "required", **CALL},
    "stop": {"stop": ["a", "e"], "max_tokens": 40},
    "own token ids": {"return_token_ids": True},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    "loop": {"max_tokens": 300, **LOOP},
    "completion": {"prompt": "Hi"},
    "echo": {"prompt": "Hi", "echo": True},
}
OWN = {"role": "system", "content": "X"}  # the gate would add the deployment's


def request_of(shape: str, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request whose answer is the same every time."""
    body = {"temperature": 0, "seed": 1, "stream": stream, **SHAPES[shape]}
    path = COMPLETIONS if "prompt" in body else CHAT
    if not stream:
        body.pop("stream_options", None)
    if path == CHAT:
        body["messages"] = [OWN, *body.get("messages", [user("Hi")])]
    return path, body
