"""From what is observed to what is reported. Pure: the clock is an argument.

`checks` asks, in order, why the endpoint is not ready; the first answer is the verdict.
`conditions` turns the verdict into conditions and keeps their transition times.
"""

from mistral_operator.api import ConditionType, Effective, ImageEngine, Status
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.status.checks import verdict
from mistral_operator.status.conditions import conditions
from mistral_operator.status.model_fits import model_fits
from mistral_operator.status.situation import Situation
from mistral_operator.watch.facts import Observed

__all__ = ["Situation", "report", "report_invalid"]


def report(situation: Situation, now: str) -> Status:
    """Return the status of a resource.

    Args:
        situation: the resource, what is observed, what stood in the way, what was said before.
        now: the time as RFC 3339, for conditions whose status changes.
    """
    resource, observed = situation.resource, situation.observed
    facts = observed.deployment
    said = verdict(situation)
    ready = facts.ready if facts else 0
    effective = _effective(observed, situation.previous) if ready else None
    engine = _engine(situation)
    # While another image rolls out, the engine that still runs is all that is known.
    version = (engine or effective or Effective()).vllm_version
    fits = model_fits(resource.spec, observed.nodes, version)
    return Status(
        observed_generation=resource.generation,
        conditions=conditions(situation, said, fits, now),
        desired_replicas=_desired(situation),
        replicas=facts.replicas if facts else 0,
        ready_replicas=ready,
        updated_replicas=facts.updated if facts else 0,
        selector=names.selector_text(resource.name),
        url=names.base_url(resource.name, resource.namespace, HTTP_PORT),
        served_model=resource.spec.model.name,
        effective=effective,
        engine=engine,
        oom=situation.oom,
        autoscaling=situation.scaling,
    )


def _desired(situation: Situation) -> int:
    """Return the replicas that should run; one that cannot start is still asked for."""
    spec = situation.resource.spec
    asked = spec.replicas if situation.asked is None else situation.asked
    return 0 if spec.suspend else asked


def _effective(observed: Observed, previous: Status) -> Effective | None:
    """Return what the first ready engine says of itself, or what one said before."""
    for pod in observed.pods:
        signal = observed.signal(pod)
        if pod.ready and signal is not None:
            return Effective(**signal.effective.model_dump())
    return previous.effective


def _engine(situation: Situation) -> ImageEngine | None:
    """Return the engine in the image that the resource asks for, as far as a replica told.

    The last word stands until another image is asked for: with no replica ready, the verdict on the
    memory would else be that of another version, and change at every restart.
    """
    image = situation.resource.spec.image or situation.server_image
    before = situation.previous.engine
    if before is not None and before.image != image:
        before = None
    versions = _versions(situation)
    if not versions or (before is not None and before.vllm_version in versions):
        return before
    return ImageEngine(image=image, vllm_version=versions[0])


def _versions(situation: Situation) -> list[str]:
    """Return what the ready replicas report, if all have the image that is asked for."""
    observed, facts = situation.observed, situation.observed.deployment
    if facts is None or not facts.ready or not facts.all_updated or situation.problems:
        return []
    signals = (observed.signal(pod) for pod in observed.pods if pod.ready and not pod.terminating)
    versions = (signal.effective.vllm_version for signal in signals if signal is not None)
    return [version for version in versions if version]


def report_invalid(situation: Situation, now: str) -> Status:
    """Return the status of a resource whose spec cannot be read.

    The situation then holds a default spec, so whatever would be said of the spec is left out.
    """
    status = report(situation, now)
    return status.model_copy(
        update={
            "served_model": situation.previous.served_model,
            "desired_replicas": situation.previous.desired_replicas,
            "engine": situation.previous.engine,
            "conditions": [
                one for one in status.conditions if one.type != ConditionType.MODEL_FITS
            ],
        }
    )
