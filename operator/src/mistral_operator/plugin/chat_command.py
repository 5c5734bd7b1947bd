"""The command `kubectl msd chat`."""

from collections.abc import AsyncIterator

import aiohttp
import click

from mistral_operator.api.resource import parse_spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.conversation import (
    Message,
    error_of_answer,
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
    """Chat with an endpoint, by a port that kubectl forwards; without a message line by line."""
    chosen = Access(**access)

    async def talk(reader: Reader, namespace: str) -> None:
        key = Key(namespace, name)
        model = await _model(reader, key)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENT_SECONDS)
        async with (
            forwarded(chosen, key) as url,
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        ):
            messages: list[Message] = []
            while (text := message or _next_message()) is not None:
                messages.append({"role": "user", "content": text})
                body = request_of(model, messages, max_tokens)
                answer = "".join([part async for part in _answer(session, url, body)])
                click.echo()
                if message is not None:
                    return
                messages.append({"role": "assistant", "content": answer})

    try:
        in_cluster(chosen, talk)
    except (ForwardFailed, aiohttp.ClientError, TimeoutError) as error:
        raise click.ClickException(
            printable(str(error)) or "the endpoint does not answer"
        ) from error


def _next_message() -> str | None:
    try:
        return click.prompt("you", prompt_suffix="> ", type=str)
    except click.Abort:
        click.echo()
        return None


async def _model(reader: Reader, key: Key) -> str:
    body = await resource_of(reader, key)
    try:
        return parse_spec(body.get("spec")).model.name
    except InvalidResource as error:
        raise click.ClickException(str(error)) from error


async def _answer(
    session: aiohttp.ClientSession, url: str, body: dict[str, object]
) -> AsyncIterator[str]:
    """Print a response while it arrives, and yield its parts."""
    # A redirect of a pod would be followed from this machine.
    async with session.post(
        f"{url}/chat/completions", json=body, allow_redirects=False
    ) as response:
        if response.status >= 300:
            raise click.ClickException(
                printable(error_of_answer(response.status, await response.text()))
            )
        async for line in response.content:
            text = text_of_event(line.decode(errors="replace").strip())
            if text:
                click.echo(shown(text), nl=False)
                yield text
