"""The base of the resource's models, and the types that several of them share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mistral_operator.kube.quantities import MAX_MEMORY, quantity_bytes


class ApiModel(BaseModel):
    """A frozen model whose fields are camelCase in YAML.

    The sentence under each field becomes the field's description in the CRD, in `kubectl explain`
    and in docs/reference.md. Unknown fields are ignored, so that an operator survives a newer CRD.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


def rule(expression: str, message: str, **more: str) -> dict[str, str]:
    """Return one CEL validation rule: `message` says what to write instead."""
    return {"rule": expression, "message": message, **more}


def with_rules(*rules: dict[str, str]) -> dict[str, Any]:
    """Return the schema extension that carries CEL rules."""
    return {"x-kubernetes-validations": list(rules)}


QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"

_MAX_QUANTITY_LENGTH = 32
"""Digits enough for every quantity that the API server itself can hold, and few enough for a
float."""

Quantity = Annotated[
    str,
    Field(coerce_numbers_to_str=True, pattern=QUANTITY_PATTERN, max_length=_MAX_QUANTITY_LENGTH),
    # Kubernetes takes 2 and "2" alike; the CRD generator knows this marker.
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]
"""A Kubernetes quantity such as 500m, 2 or 16Gi."""


def _that_a_machine_has(quantity: str) -> str:
    memory = quantity_bytes(quantity)
    if memory == 0:
        raise ValueError(f"{quantity} is not a usable size: write more than 0, such as 4Gi")
    if memory > MAX_MEMORY:
        raise ValueError(f"{quantity} is more than 1Pi: check the unit, such as 48Gi")
    return quantity


Memory = Annotated[Quantity, AfterValidator(_that_a_machine_has)]
"""A quantity of memory, at least a byte and at most 1Pi."""

Name = Annotated[str, Field(min_length=1, max_length=253)]
"""Name of another object in the namespace of the resource."""
