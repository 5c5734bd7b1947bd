"""The command `kubectl msd chat`."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
import click
from aiohttp.http_exceptions import LineTooLong

from mistral_operator.api.resource import parse_spec
from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.chat_target import Unreachable, target_of
from mistral_operator.plugin.conversation import (
    Message,
    error_of_answer,
    error_of_event,
    is_end,
    request_of,
    shown,
    text_of_event,
)
from mistral_operator.plugin.options import cluster_options, name_argument
from mistral_operator.plugin.port_forward import ForwardFailed, forwarded
from mistral_operator.plugin.read_endpoint import resource_of
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.session import Access, in_cluster
from mistral_server.contract.lenient import printable

_SILENT_SECONDS = 300
_AFTER_QUEUE_SECONDS = 30
"""Time for the activator to say that a request was queued for too long."""
_LONGEST_ERROR = 65_536
"""Bytes of a rejection that are read."""


@click.command()
@name_argument
@click.argument("message", required=False)
@click.option("--api-key", envvar="MISTRAL_API_KEY", help="API key. Unset: $MISTRAL_API_KEY.")
@click.option("--max-tokens", type=click.IntRange(1), help="Maximum tokens of a response.")
@cluster_options
def chat(
    name: str,
    message: str | None,
    api_key: str | None,
    max_tokens: int | None,
    **access: str | None,
) -> None:
    """Chat with an endpoint by a port that kubectl forwards.

    Without a message, it prompts for messages until Ctrl-D.
    """
    chosen = Access(**access)

    async def talk(reader: Reader, namespace: str) -> None:
        key = Key(namespace, name)
        body = await resource_of(reader, key)
        spec = _spec(body)
        target = await target_of(reader, key, body, spec)
        if target.notice:
            click.echo(printable(target.notice), err=True)
        request = Request(spec.model.name, headers_of(api_key), max_tokens, _longest_silence(spec))
        try:
            async with forwarded(chosen, target) as url:
                await _converse(url, request, message)
        except (ForwardFailed, aiohttp.ClientError, TimeoutError) as error:
            text = str(error) or "the endpoint does not answer"
            cause = f"; {target.cause}" if target.cause else ""
            raise click.ClickException(printable(f"{text}{cause}")) from error

    try:
        in_cluster(chosen, talk)
    except Unreachable as error:
        raise click.ClickException(printable(str(error))) from error


class Request(NamedTuple):
    """What all requests of a conversation have."""

    model: str
    headers: dict[str, str]
    max_tokens: int | None
    longest_silence: float
    """Longest silence of the endpoint, in seconds."""


async def _converse(url: str, request: Request, message: str | None) -> None:
    """Send a message, or without one those that the user types."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=request.longest_silence)
    async with aiohttp.ClientSession(headers=request.headers, timeout=timeout) as session:
        messages: list[Message] = []
        while (text := message or _next_message()) is not None:
            messages.append({"role": "user", "content": text})
            body = request_of(request.model, messages, request.max_tokens)
            answer = "".join([part async for part in answer_of(session, url, body)])
            click.echo()
            if message is not None:
                return
            messages.append({"role": "assistant", "content": answer})


def _longest_silence(spec: Spec) -> float:
    """Return the longest silence: that of an answer, or of the queue while a replica starts."""
    queued = spec.autoscaling.activation.max_wait_seconds if spec.autoscaling else 0
    return max(_SILENT_SECONDS, queued + _AFTER_QUEUE_SECONDS)


def _next_message() -> str | None:
    try:
        with _interruptible():
            return click.prompt("you", prompt_suffix="> ", type=str)
    except click.Abort:
        click.echo()
        return None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a prompt: asyncio only notes it until its loop goes on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _spec(body: Body) -> Spec:
    try:
        return parse_spec(body.get("spec"))
    except InvalidResource as error:
        raise click.ClickException(str(error)) from error


def headers_of(api_key: str | None) -> dict[str, str]:
    """Return the headers of a request; a key that is read from a file ends with its line.

    Raises:
        ClickException: the key cannot be sent.
    """
    key = (api_key or "").strip()
    if not key.isprintable():
        raise click.ClickException("the API key has a line break or a control character")
    return {"Authorization": f"Bearer {key}"} if key else {}


async def answer_of(
    session: aiohttp.ClientSession, url: str, body: dict[str, object]
) -> AsyncIterator[str]:
    """Print a response while it arrives, and yield its parts.

    Raises:
        ClickException: the request is rejected, or the response fails on its way.
    """
    # An endpoint does not choose where else the conversation is sent.
    post = session.post(f"{url}/chat/completions", json=body, allow_redirects=False)
    async with post as response:
        if response.status >= 300:
            text = await _begin(response)
            raise click.ClickException(printable(error_of_answer(response.status, text)))
        async for event in _events(response):
            if is_end(event):
                return
            if error := error_of_event(event):
                click.echo()
                raise click.ClickException(printable(error))
            text = text_of_event(event)
            if text:
                click.echo(shown(text), nl=False)
                yield text
    click.echo()
    raise click.ClickException("the response ended early")


async def _begin(response: aiohttp.ClientResponse) -> str:
    """Return the begin of a response, which may be endless."""
    read = b""
    while len(read) < _LONGEST_ERROR and (part := await response.content.read(_LONGEST_ERROR)):
        read += part
    return read.decode(errors="replace")


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    try:
        async for line in response.content:
            yield line.decode(errors="replace").strip()
    except (LineTooLong, ValueError) as error:  # the second one of aiohttp 3.13
        raise click.ClickException("a line of the response is too long") from error
