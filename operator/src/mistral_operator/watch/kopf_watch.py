"""What is watched, and what happens then: a key goes into the queue. The index of the operator.

Kopf keeps the watches alive. Its stateful handlers, timers, daemons and indexes are not used: each
was measured to lose, repeat or block something, or to add finalizers and annotations of its own.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kopf

from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body
from mistral_operator.watch.kopf_storage import NoDiffBase, NoProgress
from mistral_operator.watch.resync import Sink


def register(registry: kopf.OperatorRegistry, sink: Sink, watched: Iterable[Kind]) -> None:
    """Register one handler for each kind that is watched."""

    def on(kind: Kind) -> None:
        async def changed(event: kopf.RawEvent, **_: object) -> None:
            body: Body = event["object"]
            sink.saw(kind, body, deleted=event["type"] == "DELETED")

        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(changed)

    @kopf.on.login(registry=registry)
    def login(**given: Any) -> kopf.ConnectionInfo | None:
        """Use the same identity as kube/client.py; Kopf asks again when a token has expired."""
        return _service_account() or kopf.login_with_kubeconfig(**given)

    for kind in watched:
        on(kind)


_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _service_account() -> kopf.ConnectionInfo | None:
    """Return the pod's own identity, or None outside a cluster.

    Kopf's own helper asks DNS for kubernetes.default.svc; the kubelet tells every container the
    address, so that an operator works, and repairs, while the cluster's DNS does not.
    """
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT"),
    )
    if not host or not port:
        return None
    return kopf.ConnectionInfo(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_path=str(_ACCOUNT / "ca.crt"),
        scheme="Bearer",
        token=(_ACCOUNT / "token").read_text().strip(),
    )


def kopf_settings(selectors: Mapping[Kind, str | None]) -> kopf.OperatorSettings:
    """Return Kopf's settings, each with the reason for it.

    Args:
        selectors: the kinds that are watched, each with its label selector.
    """
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # a Lease decides who acts, see process/leader_election.py
    settings.scanning.disabled = True  # no right to watch namespaces and CRDs is needed
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False  # our Events come from transitions of the status
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 290  # streams that end in time hide no silence
    settings.watching.client_timeout = 320
    settings.watching.inactivity_timeout = 70
    settings.watching.initial_streaming = False  # 1.45 loses objects when that stream is cut
    # A fleet in one piece takes a few hundred megabytes to list. Kopf ends the process if a list is
    # so slow that its continuation expires; then it starts anew.
    settings.watching.chunk_size = 250
    settings.queueing.worker_limit = None
    # Kopf keeps a task for every object for this long after its last event: thousands in a burst.
    settings.queueing.idle_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None  # kills without a word; see lifecycle.py
    for kind, selector in selectors.items():
        name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        if selector is not None:
            settings.watching.label_selectors[name] = selector
    return settings
