"""From what is observed to what is reported. Pure: the clock is an argument.

`checks` asks, in order, why the endpoint is not ready; the first answer is the verdict.
`conditions` turns the verdict into conditions and keeps their transition times.
"""

from typing import Any, Literal

from mistral_operator.api import ConditionType, Effective, ImageEngine, Status
from mistral_operator.api.status import MAX_REASON, MAX_VERSION, CompiledCode
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.status.checks import verdict, with_memory
from mistral_operator.status.conditions import conditions
from mistral_operator.status.fetch import fetch_status
from mistral_operator.status.hold import with_hold
from mistral_operator.status.model_fits import model_fits
from mistral_operator.status.status_input import StatusInput
from mistral_operator.watch.facts import Observed
from mistral_server.contract import CompileCacheReport, CompileCacheUse, public_text

__all__ = ["StatusInput", "report", "report_invalid"]

_USES: dict[CompileCacheUse, Literal["Loaded", "Compiled", "NotKept"]] = {
    "hit": "Loaded",
    "miss": "Compiled",
    "off": "NotKept",
}


def report(status_input: StatusInput, now: str) -> Status:
    """Return the status of a resource.

    Args:
        status_input: the resource, what is observed, what stood in the way, what was said before.
        now: the time as RFC 3339, for conditions whose status changes.
    """
    resource, observed = status_input.resource, status_input.observed
    facts = observed.deployment
    ready = facts.ready if facts else 0
    effective = _effective(observed, status_input.previous) if ready else None
    engine = _engine(status_input)
    # While another image rolls out, the engine that still runs is all that is known.
    version = (engine or effective or Effective()).vllm_version
    fits = model_fits(resource.spec, status_input.nodes, version)
    current = with_hold(with_memory(verdict(status_input), fits), status_input.hold)
    return Status(
        observed_generation=resource.generation,
        conditions=conditions(status_input, current, fits, now),
        desired_replicas=_desired(status_input),
        replicas=facts.replicas if facts else 0,
        ready_replicas=ready,
        updated_replicas=facts.updated if facts else 0,
        selector=names.selector_text(resource.name),
        url=names.base_url(resource.name, resource.namespace, HTTP_PORT),
        served_model=resource.spec.model.name,
        effective=effective,
        compiled_code=_compiled_code(observed, status_input.previous) if ready else None,
        engine=engine,
        fetch=fetch_status(observed),
        oom=status_input.oom,
        autoscaling=status_input.scaling,
    )


def _desired(status_input: StatusInput) -> int:
    """Return the replicas that should run; one that cannot start is still requested."""
    spec = status_input.resource.spec
    requested = (
        spec.replicas
        if status_input.requested_replicas is None
        else status_input.requested_replicas
    )
    return 0 if spec.suspend else requested


def _effective(observed: Observed, previous: Status) -> Effective | None:
    """Return what the first ready engine says of itself, or what one said before."""
    for pod in observed.pods:
        signal = observed.signal(pod)
        if pod.ready and signal is not None:
            return Effective(**_public(signal.effective.model_dump()))
    return previous.effective


def _compiled_code(observed: Observed, previous: Status) -> CompiledCode | None:
    """Return what the first ready replica did with the kept compiled code, or what one did."""
    for pod in observed.pods:
        signal = observed.signal(pod)
        if pod.ready and signal is not None:
            return _of_report(signal.compile_cache)
    return previous.compiled_code


def _of_report(report: CompileCacheReport | None) -> CompiledCode | None:
    if report is None or report.use is None:
        return None
    return CompiledCode(
        use=_USES[report.use], reason=public_text(report.reason, MAX_REASON) or None
    )


def _public(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: public_text(value, MAX_VERSION) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _engine(status_input: StatusInput) -> ImageEngine | None:
    """Return the engine in the image of the resource, as far as a replica has reported it.

    The last reported value is kept until the image changes. Otherwise, with no replica ready, the
    verdict on the memory would be that of another version, and change at every restart.
    """
    image = status_input.resource.spec.image or status_input.server_image
    before = status_input.previous.engine
    if before is not None and before.image != image:
        before = None
    versions = _versions(status_input)
    if not versions or (before is not None and before.vllm_version in versions):
        return before
    return ImageEngine(image=image, vllm_version=versions[0])


def _versions(status_input: StatusInput) -> list[str]:
    """Return what the ready replicas report, if all have the image of the resource."""
    observed, facts = status_input.observed, status_input.observed.deployment
    if facts is None or not facts.ready or not facts.all_updated or status_input.problems:
        return []
    signals = (observed.signal(pod) for pod in observed.pods if pod.ready and not pod.terminating)
    versions = (signal.effective.vllm_version for signal in signals if signal is not None)
    return [public_text(version, MAX_VERSION) for version in versions if version]


def report_invalid(status_input: StatusInput, now: str) -> Status:
    """Return the status of a resource whose spec cannot be read.

    The input then holds a default spec, so whatever would be said of the spec is left out.
    """
    status = report(status_input, now)
    return status.model_copy(
        update={
            "served_model": status_input.previous.served_model,
            "desired_replicas": status_input.previous.desired_replicas,
            "engine": status_input.previous.engine,
            "conditions": [
                one for one in status.conditions if one.type != ConditionType.MODEL_FITS
            ],
        }
    )
