"""What the installation sets for the pods of all endpoints, beneath what a resource says."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from mistral_operator.api import Resource
from mistral_operator.api.pod import Pod, PodDefaults, PodParts
from mistral_operator.render.context import RenderContext

T = TypeVar("T")

_BY_KEY: dict[str, Callable[[Any], Any]] = {
    "env": lambda one: one.name,
    "volumes": lambda one: one.name,
    "volume_mounts": lambda one: one.mount_path,
    "tolerations": lambda one: one,
    "image_pull_secrets": lambda one: one,
    "host_aliases": lambda one: one,
}
"""Lists of which the installation's entries stay beside those of a resource, by what makes two
entries the same."""


def with_defaults(resource: Resource, context: RenderContext) -> Resource:
    """Return a resource with the installation's defaults for its pods."""
    spec = resource.spec
    changes = {"pod": _merged(spec.pod, context.pods), "logs": spec.logs.over(context.logs)}
    return replace(resource, spec=spec.model_copy(update=changes))


def _merged(pod: Pod, defaults: PodDefaults) -> Pod:
    if defaults == PodDefaults():
        return pod
    changes: dict[str, Any] = {}
    for name in PodParts.model_fields:
        own, default = getattr(pod, name), getattr(defaults, name)
        if isinstance(own, dict):
            changes[name] = {**default, **own}
        elif name in _BY_KEY:
            changes[name] = _joined(default, own, _BY_KEY[name])
        else:
            changes[name] = default if own is None else own
    return pod.model_copy(update=changes)


def _joined(defaults: Iterable[T], own: list[T], key: Callable[[T], Any]) -> list[T]:
    """Return the entries of both; of two that are the same, that of the resource."""
    taken = [key(one) for one in own]
    return [*(one for one in defaults if key(one) not in taken), *own]
