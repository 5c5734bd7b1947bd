"""Endpoints whose engine runs out of memory, start after start; see `builders` for the objects."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from builders import CONTEXT, NOW, Object, merged, resource
from mistral_operator.api import Oom, Resource, Spec
from mistral_operator.oom import (
    Failure,
    RemedyInputs,
    decide,
    effective_resource,
    settings_in_force,
)
from mistral_operator.render.pod import configuration_digest
from mistral_server.contract import FailureClass

FailureModel = Callable[[Spec], FailureClass | None]
"""Returns how an endpoint with some settings fails to start; None means that it works."""


def failure(
    kind: FailureClass = FailureClass.KV_CACHE_TOO_SMALL, identity: str = "end-1", **fields: object
) -> Failure:
    """Return an explained failure of the pod small-1."""
    default = Failure(identity, "small-1", "", kind, evidence="what happened", time=NOW)
    return replace(default, **fields)  # type: ignore[arg-type]  # the caller names fields


@dataclass
class Endpoint:
    """An endpoint with one replica whose every start is played through."""

    spec: Object
    oom: Oom | None = None
    ends: int = 0
    visible: list[Failure] = field(default_factory=list)
    settings: list[Spec] = field(default_factory=list)
    """The settings of every start."""

    @property
    def resource(self) -> Resource:
        """The resource as its user wrote it."""
        return resource(self.spec)

    @property
    def running(self) -> Spec:
        """The settings in force."""
        return effective_resource(self.resource, self.oom).spec

    def fail(
        self,
        kind: FailureClass,
        *,
        phase: str = "",
        ready: bool = False,
        fits: int | None = None,
    ) -> None:
        """Let the pod fail with the settings in force."""
        configuration = configuration_digest(settings_in_force(self.resource, self.oom), CONTEXT)
        suggest = {} if fits is None else {"engine.context_length": fits}
        self.ends += 1
        ended = failure(
            kind, f"end-{self.ends}", configuration=configuration, phase=phase, suggest=suggest
        )
        self.visible = [*self.visible, ended][-2:]  # as many as a kubelet knows
        self.look(ready=ready)

    def look(self, *, quiet: bool = False, ready: bool = False) -> None:
        """Let the operator look."""
        configuration = configuration_digest(settings_in_force(self.resource, self.oom), CONTEXT)
        inputs = RemedyInputs(self.visible, configuration, ready=ready, quiet=quiet, now=NOW)
        self.oom = decide(self.resource, self.oom, inputs)

    def play(self, failure_model: FailureModel, limit: int = 200) -> bool:
        """Start again and again; return whether it came to work before it gave up."""
        for _ in range(limit):
            if self.oom is not None and self.oom.stopped:
                return False
            self.settings.append(self.running)
            kind = failure_model(self.running)
            if kind is None:
                self.look(quiet=True, ready=True)
                return True
            self.fail(kind)
        raise AssertionError(f"it did not end within {limit} starts")


APPLY: Object = {"oom": {"policy": "Apply"}}
LONG: Object = merged(APPLY, {"engine": {"contextLength": 131072}})


def endpoint(*specs: Object) -> Endpoint:
    """Return an endpoint with the policy `Apply` and further settings."""
    merged_spec: Object = {}
    for spec in (APPLY, *specs):
        merged_spec = merged(merged_spec, spec)
    return Endpoint(merged_spec)


def changes(of: Endpoint) -> list[tuple[str, str, str]]:
    """Return setting, new value and outcome of every step."""
    assert of.oom is not None
    return [(one.setting.rpartition(".")[2], one.after, one.outcome) for one in of.oom.steps]
