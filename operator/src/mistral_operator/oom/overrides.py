"""A resource as it is run: its spec, with the settings of `status.oom` in the place of its own."""

from collections.abc import Sequence
from dataclasses import replace

from mistral_operator.api import Oom, Overrides, Resource, Spec, Step
from mistral_operator.api.fields import OVERRIDDEN


def effective_resource(resource: Resource, oom: Oom | None) -> Resource:
    """Return a resource as it should run now; the spec itself is never written."""
    if oom is None:
        return resource
    spec = resource.spec if oom.overrides is None else with_overrides(resource.spec, oom.overrides)
    if oom.stopped:
        spec = spec.model_copy(update={"replicas": 0})
    return replace(resource, spec=spec)


def with_overrides(spec: Spec, overrides: Overrides) -> Spec:
    """Return a spec with other settings."""
    for override, field in OVERRIDDEN.items():
        value = getattr(overrides, override)
        if value is not None:
            spec = field.replaced(spec, value)
    return spec


def overrides_of(steps: Sequence[Step]) -> Overrides | None:
    """Return what steps add up to; each knows the setting and its value as text."""
    latest = {one.setting: one.after for one in steps}
    values = {key: latest[one.name] for key, one in OVERRIDDEN.items() if one.name in latest}
    return Overrides.model_validate(values) if values else None


def without_spec_values(spec: Spec, overrides: Overrides | None) -> Overrides:
    """Return overrides without those that say what the spec says itself."""
    values = {} if overrides is None else overrides.model_dump(exclude_none=True)
    needed = {
        key: value
        for key, value in values.items()
        if with_overrides(spec, Overrides.model_validate({key: value})) != spec
    }
    return Overrides.model_validate(needed)
