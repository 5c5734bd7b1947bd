"""What of the records in a status can be true: anyone with the permission can edit them. Pure.

The steps are the operator's decisions, and everything else has to follow from them.
"""

from pydantic import ValidationError

from mistral_operator.api import Oom, Overrides, Spec, Step
from mistral_operator.oom.overrides import overrides_of, without_spec_values
from mistral_operator.oom.remedy import REPEATING


def believed(oom: Oom, spec: Spec) -> Oom:
    """Return records without what the operator cannot have decided; the same if all can be true."""
    steps = [one for one in oom.steps if _is_possible(one)]
    decided = overrides_of([one for one in steps if one.outcome != "Reverted"])
    needed = without_spec_values(spec, decided)
    overrides = oom.overrides
    if without_spec_values(spec, overrides) != needed:
        overrides = needed if needed != Overrides() else None
    stopped = oom.stopped and oom.active in REPEATING and _has_failed_enough(oom, spec)
    kept = {"steps": steps, "overrides": overrides, "stopped": stopped}
    # Each step tries settings once. A try without its step would never be repeated, and an endpoint
    # that needs those settings would be stopped instead.
    if len(oom.tried) != len(steps):
        kept |= {"tried": []}
    if len(steps) != len(oom.steps):
        kept |= {"exhausted": False}
    return oom.model_copy(update=kept)


def _has_failed_enough(oom: Oom, spec: Spec) -> bool:
    # The number of replicas may have changed since.
    return 0 < spec.oom.stop_after <= oom.streak


def _is_possible(step: Step) -> bool:
    """Tell whether the setting of a step can have its value."""
    try:
        return overrides_of([step]) is not None
    except ValidationError:
        return False
