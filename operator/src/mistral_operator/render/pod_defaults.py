"""What the installation sets for the pods of all endpoints, beneath what a resource says."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from mistral_operator.api import Resource
from mistral_operator.api.base import ApiModel
from mistral_operator.api.pod import Pod, PodDefaults, PodParts, PodSecurityContext
from mistral_operator.api.pod_network import DnsConfig, HostAlias
from mistral_operator.render.context import RenderContext

T = TypeVar("T")

_BY_KEY: dict[str, Callable[[Any], Any]] = {
    "env": lambda one: one.name,
    "volumes": lambda one: one.name,
    "volume_mounts": lambda one: one.mount_path,
    "tolerations": lambda one: one,
    "image_pull_secrets": lambda one: one,
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
        elif name == "host_aliases":
            changes[name] = _aliases(default, own)
        elif own is None or default is None:
            changes[name] = default if own is None else own
        else:
            changes[name] = _both(default, own)
    return pod.model_copy(update=changes)


def _both(default: Any, own: Any) -> Any:
    """Return what applies of a field that both set: of an object, each of its fields."""
    if not isinstance(own, ApiModel):
        return own
    if isinstance(own, PodSecurityContext):
        return _users(default, own)
    fields = {key: one for key, one in own if one is not None and one != []}
    if isinstance(own, DnsConfig):
        # Not the name servers: a pod has three at most.
        fields["searches"] = [*dict.fromkeys((*own.searches, *default.searches))]
        fields["options"] = _joined(default.options, own.options, lambda one: one.name)
    return default.model_copy(update=fields)


def _users(default: PodSecurityContext, own: PodSecurityContext) -> PodSecurityContext:
    """Return users and groups; an empty context leaves them to the platform."""
    if own == PodSecurityContext():
        return own
    ids = {key: one for key, one in own if one}
    groups = [*dict.fromkeys((*default.supplemental_groups, *own.supplemental_groups))]
    return default.model_copy(update=ids | {"supplemental_groups": groups})


def _joined(defaults: Iterable[T], own: list[T], key: Callable[[T], Any]) -> list[T]:
    """Return the entries of both; of two that are the same, that of the resource."""
    taken = [key(one) for one in own]
    return [*(one for one in defaults if key(one) not in taken), *own]


def _aliases(defaults: Iterable[HostAlias], own: list[HostAlias]) -> list[HostAlias]:
    """Return the aliases of both, one for each address: a pod can have no more."""
    names = {one.ip: one.hostnames for one in defaults}
    both = [
        one.model_copy(update={"hostnames": [*dict.fromkeys((*one.hostnames, *names[one.ip]))]})
        if one.ip in names
        else one
        for one in own
    ]
    return _joined(defaults, both, lambda one: one.ip)
