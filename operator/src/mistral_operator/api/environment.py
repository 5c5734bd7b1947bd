"""`spec.pod.env`: environment variables of the server and of the container that fetches the model.

Variables that run code, that open what is closed, or that a field of the resource sets are refused
by name. That is why each variable is named here: `envFrom` does not exist, as the operator would
know its names only after the pods have started.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, DataKey, Line, Name, Rule, repeated, with_rules
from mistral_operator.api.variables import RESERVED, TUNING, is_reserved

_FREE = Rule(
    f"!self.matches('{RESERVED}')"
    f" && (!self.startsWith('VLLM_') || self in [{', '.join(map(repr, TUNING))}])",
    "spec.pod.env cannot set this variable: it is the operator's, a field of the resource sets it,"
    " or the safety of the server depends on it. Of vLLM's variables it can set"
    f" {', '.join(TUNING)}",
    lambda name: not is_reserved(name),
)

_NO_REFERENCE = Rule(
    "!self.contains('$(')",
    "a value cannot refer to another variable by $(NAME): write the whole value",
    lambda value: "$(" not in value,
)
"""A reference would copy the hub's token into a variable that is sent elsewhere."""


class KeyReference(ApiModel):
    """One key of a Secret or a ConfigMap in the namespace of the resource."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: DataKey
    """Key within it."""


class FieldReference(ApiModel):
    """A field of the pod."""

    field_path: Literal[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "status.hostIP",
        "status.podIP",
    ]
    """Path of the field."""


class ValueFrom(ApiModel):
    """Where the value of a variable comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0)"
            " + (has(self.fieldRef) ? 1 : 0) == 1",
            "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            lambda one: len(one.model_dump(exclude_none=True)) == 1,
        ),
    )

    secret_key_ref: KeyReference | None = None
    """Key of a Secret. It must have the name of the variable, so that a Secret is only used for
    what it was made for."""
    config_map_key_ref: KeyReference | None = None
    """Key of a ConfigMap."""
    field_ref: FieldReference | None = None
    """Field of the pod."""


def _has_one_value(one: "Variable") -> bool:
    return (one.value is None) != (one.value_from is None)


def _has_its_own_key(one: "Variable") -> bool:
    secret = one.value_from.secret_key_ref if one.value_from is not None else None
    return secret is None or secret.key == one.name


class Variable(ApiModel):
    """One environment variable."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.value) != has(self.valueFrom)",
            "set either value or valueFrom",
            _has_one_value,
        ),
        Rule(
            "!has(self.valueFrom) || !has(self.valueFrom.secretKeyRef)"
            " || self.valueFrom.secretKeyRef.key == self.name",
            "the key of the Secret must have the name of the variable: a Secret is used for what it"
            " was made for. Add such a key to the Secret",
            _has_its_own_key,
        ),
    )

    name: Annotated[str, _FREE.after] = Field(
        min_length=1,
        max_length=128,
        pattern=patterns.VARIABLE_NAME,
        json_schema_extra=with_rules(_FREE),
    )
    """Name of the variable, such as HTTPS_PROXY. docs/pods.md has the names that can be set; the
    chart value `allowedVariables` adds others."""
    value: Annotated[Line, _NO_REFERENCE.after] | None = Field(
        default=None, json_schema_extra=with_rules(_NO_REFERENCE)
    )
    """Value, one line of printable ASCII. It appears in the pod: put secrets into a Secret."""
    value_from: ValueFrom | None = None
    """Source of the value."""


def _without_duplicates(variables: list[Variable]) -> list[Variable]:
    if (twice := repeated([one.name for one in variables])) is not None:
        raise ValueError(f"{twice} is set twice: remove one")
    return variables


Environment = Annotated[
    list[Variable],
    Field(
        max_length=24,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ),
    AfterValidator(_without_duplicates),
]
"""Environment variables with different names."""

CA_VARIABLES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
"""Which certificate authorities the client of the hub believes."""
