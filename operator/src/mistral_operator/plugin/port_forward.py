"""A local port of a Service or a pod, by `kubectl port-forward`.

The proxy of the API server would pass on no API key.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mistral_operator.plugin.chat_target import Target
from mistral_operator.plugin.session import Access
from mistral_server.contract.lenient import printable

_START_SECONDS = 20
_STOP_SECONDS = 5
_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")


class ForwardFailed(ValueError):
    """No port leads there; the message says why."""


@asynccontextmanager
async def forwarded(access: Access, target: Target) -> AsyncIterator[str]:
    """Return the base URL of an endpoint on this machine, as a context manager.

    Raises:
        ForwardFailed: kubectl does not start, or finds no pod.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *_options(access),
            *("port-forward", "--namespace", target.namespace, target.name, f":{target.port}"),
            *("--address", "127.0.0.1"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ForwardFailed(f"kubectl cannot be started: {error.strerror}") from error
    try:
        yield f"http://127.0.0.1:{await _port(process)}/v1"
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()


def _options(access: Access) -> list[str]:
    options = []
    if access.kubeconfig is not None:
        options += ["--kubeconfig", access.kubeconfig]
    if access.context is not None:
        options += ["--context", access.context]
    return options


async def _port(process: asyncio.subprocess.Process) -> int:
    """Return the local port, once kubectl has said it."""
    if process.stdout is None or process.stderr is None:
        raise ForwardFailed("kubectl has no output")
    try:
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                if match := _FORWARDING.match(line):
                    return int(match[1])
            reason = _last_line((await process.stderr.read()).decode(errors="replace"))
    except TimeoutError:
        reason = f"it did not answer in {_START_SECONDS} seconds"
    raise ForwardFailed(f"kubectl port-forward failed: {reason}")


def _last_line(text: str) -> str:
    """Return the error of kubectl, which logs each API group that does not answer before it."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    return printable(lines[-1]) if lines else "it says no reason"
