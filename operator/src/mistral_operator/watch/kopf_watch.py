"""Registers a Kopf event handler for each watched kind, which passes events to a sink.

Kopf keeps the watches alive. Its stateful handlers, timers, daemons and indexes are not used: each
was measured to lose, repeat or block events, or to add finalizers and annotations.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import kopf

from mistral_operator.isolation import Isolation
from mistral_operator.kube.credentials import proxy_of_environment
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, key_of
from mistral_operator.watch.kopf_storage import NoDiffBase, NoProgress
from mistral_operator.watch.resync import Sink


def register(registry: kopf.OperatorRegistry, sink: Sink, watched: Iterable[Kind]) -> None:
    """Register one handler for each watched kind."""
    isolation = Isolation("watches")

    def on(kind: Kind) -> None:
        async def on_event(event: kopf.RawEvent, **_: object) -> None:
            body: Body = event["object"]
            with isolation.of((kind.kind, *key_of(body))):
                sink.on_event(kind, body, deleted=event["type"] == "DELETED")

        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(on_event)

    kopf.on.login(registry=registry)(login)
    for kind in watched:
        on(kind)


def login(**arguments: Any) -> kopf.ConnectionInfo | None:
    """Return the identity and the proxy of `kube/credentials.py`.

    Kopf calls this again when a token expires. Its session follows redirects, which only the API
    server can send here: all watched kinds are its own, and Kopf requests no pod's port. Its
    watches cannot impersonate, as the requests of a kubeconfig with `as` do: they only read.
    """
    info = _service_account() or kopf.login_with_kubeconfig(**arguments)
    if info is None or info.proxy_url:
        return info
    return replace(info, proxy_url=proxy_of_environment(info.server))


_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _service_account() -> kopf.ConnectionInfo | None:
    """Return the service account of the pod, or None outside a cluster.

    Kopf's own helper resolves kubernetes.default.svc. The kubelet sets the address in every
    container, so the operator works while the DNS of the cluster is down.
    """
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT"),
    )
    if not host or not port:
        return None
    return kopf.ConnectionInfo(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_path=str(_SERVICE_ACCOUNT / "ca.crt"),
        scheme="Bearer",
        token=(_SERVICE_ACCOUNT / "token").read_text().strip(),
    )


def kopf_settings(selectors: Mapping[Kind, str | None]) -> kopf.OperatorSettings:
    """Return the settings of Kopf, each with its reason.

    Args:
        selectors: watched kinds with their label selectors.
    """
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # process/leader_election.py uses a Lease
    settings.scanning.disabled = True  # no right to watch namespaces and CRDs is needed
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False  # Events are posted for transitions of the status
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 290  # reconnect before a silent stream goes unnoticed
    settings.watching.client_timeout = 320
    settings.watching.inactivity_timeout = 70
    settings.watching.initial_streaming = False  # Kopf 1.45 loses objects when that stream breaks
    # Listing a fleet without pages takes a few hundred megabytes. Kopf stops when a list is so slow
    # that its continuation token expires; the process then restarts.
    settings.watching.chunk_size = 100
    settings.queueing.worker_limit = None
    # Kopf keeps a task per object this long after its last event: thousands in a burst.
    settings.queueing.idle_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None  # kills without a log line; see lifecycle.py
    for kind, selector in selectors.items():
        name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        if selector is not None:
            settings.watching.label_selectors[name] = selector
    return settings
