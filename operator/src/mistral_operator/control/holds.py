"""Gives ports of the activators to endpoints while they need them, and takes them back later."""

from mistral_operator.api import ConditionType, Resource, Status
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import Desired
from mistral_operator.control.free_ports import REST_SECONDS
from mistral_operator.control.hold import HoldInputs
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.status.hold import HoldPhase


class Holds:
    """The endpoints that need the activators besides those that can scale to zero."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._ports = dependencies.ports
        self._phases: dict[Key, tuple[HoldPhase, bool, float]] = {}
        """The phase of each endpoint that needs the activators, whether something kept them from
        it, and since when."""
        self._left: dict[Key, float] = {}
        """When each endpoint with a port needed it last."""

    def port(self, key: Key, resource: Resource) -> int | None:
        """Return the port of an endpoint that has one, with its current settings in the map."""
        held = self._ports.has(key) or key in self._phases
        return self._ports.port(key, resource, held=held)

    def inputs(self, key: Key, port: int | None, previous: Status) -> HoldInputs:
        """Return what the decision depends on besides pods and Deployment."""
        activators, published = self._dependencies.activators.current, self._ports.published
        now = self._dependencies.clock()
        phase, was_refused, since = self._phases.get(key, (HoldPhase.NONE, False, now))
        was_held = any(one.type == ConditionType.HOLDING for one in previous.conditions)
        return HoldInputs(
            self._dependencies.context,
            enabled=self._dependencies.has_activators,
            ready=bool(activators.addresses),
            was_ready=was_held or previous.ready_replicas > 0,
            refusal=self._ports.refusal(key) or "",
            queued=self._ports.waits(key),
            published=port is not None and published.has(key, port),
            listening=port is not None and published.is_known(key, port, activators),
            phase=phase,
            was_refused=was_refused,
            waited=now - since,
        )

    def settle(self, key: Key, desired: Desired) -> None:
        """Give a port to an endpoint that needs one, or take it back some time later."""
        hold, now = desired.hold, self._dependencies.clock()
        phase, was_refused, _ = self._phases.get(key, (HoldPhase.NONE, False, 0.0))
        refused = hold.refusal is not None
        if hold.needed and (phase, was_refused) != (hold.phase, refused):
            self._phases[key] = hold.phase, refused, now
        elif not hold.needed:
            self._phases.pop(key, None)
        if hold.again is not None:
            self._dependencies.requeue_after(key, hold.again)
        if hold.needed or can_scale_to_zero(desired.written.spec):
            self._left.pop(key, None)
            if not self._ports.has(key) and not self._ports.refusal(key):
                self._ports.port(key, desired.written, held=True)
                if self._ports.refusal(key):
                    # The decision depends on it.
                    self._dependencies.requeue(key)
        elif self._ports.has(key):
            self._release(key, now)
        else:
            # It waits for none any more, and others are next.
            self._ports.forget(key)

    def _release(self, key: Key, now: float) -> None:
        if self._ports.serve(key):
            # The slice could not be emptied: with another endpoint at its port, that would get
            # these requests and their API keys.
            self._left[key] = now
        # Its clients are still served by it.
        left = self._left.setdefault(key, now) + REST_SECONDS - now
        if left <= 0 and not self._dependencies.activators.held(key):
            self.forget(key)
            self._ports.forget(key)
        else:
            self._dependencies.requeue_after(key, max(left, 1.0))

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone."""
        self._phases.pop(key, None)
        self._left.pop(key, None)
