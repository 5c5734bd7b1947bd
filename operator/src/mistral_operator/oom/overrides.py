"""A resource as it is run: its spec, with the settings of `status.oom` in the place of its own."""

from dataclasses import replace
from typing import Any, TypeVar

from mistral_operator.api import Oom, Overrides, Resource, Spec
from mistral_operator.api.base import ApiModel

M = TypeVar("M", bound=ApiModel)


SETTINGS = {
    "context_length": "spec.engine.contextLength",
    "gpu_memory_utilization": "spec.engine.gpuMemoryUtilization",
    "max_sequences": "spec.engine.maxSequences",
    "max_batched_tokens": "spec.engine.maxBatchedTokens",
    "images_per_prompt": "spec.images.perPrompt",
    "shared_memory": "spec.sharedMemory",
    "memory": "spec.pod.resources.limits.memory",
}
"""The field of the resource that each field of `Overrides` stands in for."""


def effective_resource(resource: Resource, oom: Oom | None) -> Resource:
    """Return a resource as it should run now; the spec itself is never written."""
    if oom is None:
        return resource
    spec = resource.spec if oom.overrides is None else with_overrides(resource.spec, oom.overrides)
    if oom.stopped:
        spec = _changed(spec, replicas=0)
    return replace(resource, spec=spec)


def with_overrides(spec: Spec, overrides: Overrides) -> Spec:
    """Return a spec with other settings."""
    engine = _changed(
        spec.engine,
        context_length=overrides.context_length,
        gpu_memory_utilization=overrides.gpu_memory_utilization,
        max_sequences=overrides.max_sequences,
        max_batched_tokens=overrides.max_batched_tokens,
    )
    limits = spec.pod.resources.limits
    if overrides.memory is not None:
        limits = {**limits, "memory": overrides.memory}
    resources = _changed(spec.pod.resources, limits=limits)
    return _changed(
        spec,
        engine=engine,
        images=_changed(spec.images, per_prompt=overrides.images_per_prompt),
        shared_memory=overrides.shared_memory,
        pod=_changed(spec.pod, resources=resources),
    )


def _changed(model: M, **values: Any) -> M:
    """Return a model with those values that are given."""
    return model.model_copy(update={key: one for key, one in values.items() if one is not None})
