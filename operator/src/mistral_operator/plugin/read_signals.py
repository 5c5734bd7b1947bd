"""Reads what the pods of an endpoint report."""

import asyncio
from collections.abc import Iterable

from mistral_operator.kube.names import HEALTH_PORT
from mistral_operator.plugin.reader import Reader
from mistral_server.contract import SignalDocument


async def read_signals(
    reader: Reader, namespace: str, pods: Iterable[str]
) -> dict[str, SignalDocument]:
    """Return what pods report, as far as they answer in time; all are asked at once."""
    names, until = list(pods), reader.latest_answer()
    signals = await asyncio.gather(*(signals_of(reader, namespace, one, until) for one in names))
    return {name: signal for name, signal in zip(names, signals, strict=True) if signal is not None}


async def signals_of(
    reader: Reader, namespace: str, pod: str, until: float | None = None
) -> SignalDocument | None:
    """Return what a pod reports; see `Reader.text_of_pod`."""
    text = await reader.text_of_pod(namespace, pod, HEALTH_PORT, "signals", until)
    try:
        return None if text is None else SignalDocument.read(text.encode())
    except ValueError:
        reader.note(f"pod {pod} answers at port {HEALTH_PORT} with something else than its signals")
        return None
