"""Labels and annotations that users add to children."""

from typing import Annotated

from pydantic import Field

from mistral_operator.api.base import LabelKey, LabelValue, Line, Rule, with_rules
from mistral_operator.kube import names

_OWN_LABELS = (
    names.LABEL_NAME,
    names.LABEL_INSTANCE,
    names.LABEL_MANAGED_BY,
    "pod-template-hash",
)
_OWN = f"{names.GROUP}/"
_OWN_ANNOTATIONS = (
    _OWN,
    "kubectl.kubernetes.io/",
    "deployment.kubernetes.io/",
)
_WEAKER = ("container.apparmor.security.", "container.seccomp.security.", "seccomp.security.")
"""Older forms of security profiles, which could turn those of the pods off."""

_FREE_LABELS = Rule(
    f"self.all(key, !(key in [{', '.join(map(repr, _OWN_LABELS))}]) && !key.startsWith('{_OWN}'))",
    f"labels cannot be {', '.join(_OWN_LABELS)} or begin with {_OWN}: these are the operator's and"
    " Kubernetes' own",
    lambda labels: not any(key in _OWN_LABELS or key.startswith(_OWN) for key in labels),
)


def _without(what: str, prefixes: tuple[str, ...]) -> Rule:
    return Rule(
        "self.all(key, {})".format(" && ".join(f"!key.startsWith('{one}')" for one in prefixes)),
        f"annotations of {what} cannot begin with {', '.join(prefixes)}",
        lambda annotations: not any(key.startswith(prefixes) for key in annotations),
    )


_FREE_ANNOTATIONS = _without("Services and ServiceAccounts", (_OWN, "kubectl.kubernetes.io/"))
_FREE_POD_ANNOTATIONS = _without("pods", (*_OWN_ANNOTATIONS, *_WEAKER))

PodLabels = Annotated[
    dict[LabelKey, LabelValue],
    Field(json_schema_extra=with_rules(_FREE_LABELS)),
    _FREE_LABELS.after,
]
"""Labels beside those of the operator."""

PodAnnotations = Annotated[
    dict[LabelKey, Line],
    Field(json_schema_extra=with_rules(_FREE_POD_ANNOTATIONS)),
    _FREE_POD_ANNOTATIONS.after,
]
"""Annotations of pods, without those that would weaken them."""

Annotations = Annotated[
    dict[LabelKey, Line],
    Field(json_schema_extra=with_rules(_FREE_ANNOTATIONS)),
    _FREE_ANNOTATIONS.after,
]
"""Annotations beside those of the operator."""
