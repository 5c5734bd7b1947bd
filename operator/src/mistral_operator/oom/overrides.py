"""A resource as it is run: its spec, with the settings of `status.oom` in the place of its own."""

from dataclasses import replace

from mistral_operator.api import Oom, Overrides, Resource, Spec
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
