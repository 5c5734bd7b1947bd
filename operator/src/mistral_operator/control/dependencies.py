"""What the reconciler and its parts work with."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.collectors import FleetCollector
from mistral_operator.control.scaler import Scaler
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.clock import now_text
from mistral_operator.kube.objects import Key
from mistral_operator.render import RenderContext
from mistral_operator.signals.activators import ActivatorBoard
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.store import Store


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a reconciler works with."""

    cluster: Cluster
    store: Store
    signals: SignalBoard
    scaler: Scaler
    activators: ActivatorBoard
    context: RenderContext
    fleet: FleetCollector
    ports: ActivatorPorts
    """Ports of the activators."""
    publish_ports: Callable[[Key], Awaitable[None]]
    """Writes the port map for the activators if it changed, on behalf of one endpoint."""
    has_activators: bool
    """The installation has activators."""
    requeue: Callable[[Key], None]
    """Requests another reconciliation of a resource, as soon as this one is over."""
    requeue_after: Callable[[Key, float], None]
    """Requests another reconciliation of a resource after some seconds."""
    now: Callable[[], str] = now_text
    """The time as it is written into a status."""
    clock: Callable[[], float] = time.monotonic
    """The time in seconds; it only goes forward."""
