"""One endpoint as a document for programs. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mistral_operator.plugin.endpoint import Endpoint, Happening, Replica
from mistral_operator.plugin.next_steps import next_steps
from mistral_server.contract import SignalDocument


def endpoint_document(endpoint: Endpoint, notes: Sequence[str]) -> dict[str, Any]:
    """Return an endpoint as a document; what is not known is null."""
    status = endpoint.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    spec = endpoint.spec
    return {
        "name": endpoint.name,
        "namespace": endpoint.namespace,
        "generation": endpoint.generation,
        "edited": endpoint.edit and endpoint.edit._asdict(),
        "model": None if spec is None else spec.model.id,
        "gpusPerReplica": (
            None if spec is None or spec.device == "cpu" else spec.engine.tensor_parallel_size
        ),
        "status": status,
        "replicas": _replicas(endpoint.replicas),
        "prefetch": _replicas(endpoint.prefetch_pods),
        "activator": endpoint.activator,
        "events": _events(endpoint.happenings),
        "whatToDo": [one.line for one in next_steps(endpoint)],
        "notShown": list(notes),
    }


def _replicas(replicas: Sequence[Replica] | None) -> list[dict[str, Any]] | None:
    return None if replicas is None else [_replica(one) for one in replicas]


def _events(events: Sequence[Happening] | None) -> list[dict[str, Any]] | None:
    return None if events is None else [asdict(one) for one in events]


def _replica(replica: Replica) -> dict[str, Any]:
    signal = replica.signal
    return {
        "pod": replica.facts.name,
        "state": replica.state,
        "restarts": replica.restarts,
        "node": replica.node or None,
        "gpusOfNode": replica.gpu or None,
        "signals": None if signal is None else public_signals(signal),
    }


def public_signals(signal: SignalDocument) -> dict[str, Any]:
    """Return what a pod reports, without the digests of its API keys."""
    return signal.model_dump(mode="json", exclude_none=True, exclude={"key_digests"})
