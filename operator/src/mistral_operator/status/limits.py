"""What to change where a ResourceQuota or a LimitRange rejects an object.

The API server's sentences name a quota but no LimitRange, and never a field of the resource.
"""

import re

_EXCEEDED = re.compile(r"exceeded quota: ([^,\s]+), requested: (\S+), used: ")
_UNLIMITED = re.compile(r"failed quota: ([^:\s]+): must specify ([^\]]+)")
_OUTSIDE = re.compile(r"(minimum|maximum) (\S+) usage per (\w+) is [^,\]]+, but ([^,\]]+)")
_RATIO = re.compile(r"(\S+) max limit to request ratio per (\w+) is [^,\]]+, but ([^,\]]+)")
_ABOVE_LIMIT = re.compile(
    r"spec\.(\w+)\[\d+\]\.resources\.requests: Invalid value: \S+"
    r" must be less than or equal to (\S+) limit of [^,\]\s]+"
)

_SERVER = "spec.pod.resources"
_FETCH = "spec.pod.fetchResources"
_BOTH = f"{_SERVER} and {_FETCH}"
_CACHE = "spec.cache.size"

_FIELDS = (
    (re.compile(r"(count/)?pods$"), "spec.replicas"),
    (re.compile(r".*storage$|persistentvolumeclaims$|.*/persistentvolumeclaims$"), _CACHE),
    (re.compile(r"requests\..*/"), "spec.replicas or spec.engine.tensorParallelSize"),
    (re.compile(r"(requests\.|limits\.)?(cpu|memory|ephemeral-storage)$"), _BOTH),
)
"""What a resource of a quota follows from; the first pattern that matches has the field."""


def advice(message: str) -> str:
    """Return what to change, empty if neither a quota nor a LimitRange rejects the object."""
    for pattern, sentence in _RULES:
        if (match := pattern.search(message)) is not None:
            return sentence(match)
    return ""


def _exceeded(match: re.Match[str]) -> str:
    quota, requested = match[1], match[2]
    names = [one.partition("=")[0] for one in requested.split(",")]
    fields = dict.fromkeys(field for name in names if (field := _field(name)))
    lower = f", or lower {' and '.join(fields)}" if fields else ""
    return f"ResourceQuota {quota} has no room for {', '.join(names)}: raise it{lower}"


def _field(name: str) -> str:
    if "ephemeral-storage" in name:
        return _BOTH
    return next((field for pattern, field in _FIELDS if pattern.match(name)), "")


def _unlimited(match: re.Match[str]) -> str:
    return (
        f"ResourceQuota {match[1]} requires resources that a container does not have"
        f" ({match[2].strip()}): set them in {_BOTH}, or in a LimitRange as defaults"
    )


def _above_limit(match: re.Match[str]) -> str:
    field, resource = _FETCH if match[1] == "initContainers" else _SERVER, match[2]
    return (
        f"a LimitRange of the namespace sets a limit of {resource} below the request: set"
        f" {field}.limits.{resource}, or lower {field}.requests.{resource}"
    )


def _outside(match: re.Match[str]) -> str:
    bound, resource, of, actual = match[1], match[2], match[3], match[4]
    field = _CACHE if of == "PersistentVolumeClaim" else _BOTH
    verb = "raise" if bound == "minimum" else "lower"
    if actual.startswith("no "):
        verb = "set"
    return (
        f"a LimitRange of the namespace has a {bound} of {resource} for each {of}: change it, or"
        f" {verb} {resource} in {field}"
    )


def _ratio(match: re.Match[str]) -> str:
    return (
        f"a LimitRange of the namespace bounds the ratio of limit and request of {match[1]}: change"
        f" it, or set both in {_BOTH}"
    )


_RULES = (
    (_EXCEEDED, _exceeded),
    (_UNLIMITED, _unlimited),
    (_ABOVE_LIMIT, _above_limit),
    (_OUTSIDE, _outside),
    (_RATIO, _ratio),
)
"""What the API server says, and what to change; the first pattern that matches counts."""
