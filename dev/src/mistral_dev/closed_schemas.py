"""Schemas of the chart values that the operator reads as one of its models.

The operator reads them when it starts, after helm has reported success. So helm refuses what a
schema can tell: unknown fields, types, patterns. The operator refuses the rest, such as variables
that it sets itself.
"""

from __future__ import annotations

from typing import Any

from mistral_operator.api.base import ApiModel
from mistral_operator.api.crd import structural
from mistral_operator.api.network import Peer
from mistral_operator.api.pod import PodParts


def closed(model: type[ApiModel], *, nullable: bool) -> dict[str, Any]:
    """Return the schema of a model as that of a value, in which no other fields are allowed.

    Args:
        model: the model.
        nullable: fields that may be unset may be null.
    """
    return _closed(structural(model), nullable)


def _closed(schema: dict[str, Any], nullable: bool) -> dict[str, Any]:
    kept = {
        key: of
        for key, of in schema.items()
        if key not in {"default", "description"} and not key.startswith("x-kubernetes-")
    }
    if "anyOf" in kept:
        # The only choice in a CRD: a quantity.
        kept["type"] = [one["type"] for one in kept.pop("anyOf")]
    if "properties" in kept:
        required = kept.get("required", ())
        kept["properties"] = {
            key: _or_null(_closed(of, nullable))
            if nullable and key not in required and "default" not in of
            else _closed(of, nullable)
            for key, of in kept["properties"].items()
        }
        kept["additionalProperties"] = False
    if "items" in kept:
        kept["items"] = _closed(kept["items"], nullable)
    return kept


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    of_a_type = schema | {"type": [schema["type"], "null"]}
    return of_a_type | {"enum": [*schema["enum"], None]} if "enum" in schema else of_a_type


# The rule of a peer, without CEL: it selects something, and a range nothing else.
PEER = {
    **closed(Peer, nullable=False),
    "minProperties": 1,
    "dependencies": {"ipBlock": {"maxProperties": 1}},
}
"""A caller or destination of endpoints, in the form of spec.network."""


def _pod() -> dict[str, Any]:
    schema = closed(PodParts, nullable=True)
    secrets = schema["properties"]["imagePullSecrets"]
    # By name, or in the form that pull Secrets have in charts.
    name = secrets["items"]
    secrets["items"] = name | {
        "type": ["string", "object"],
        "properties": {"name": name},
        "required": ["name"],
        "additionalProperties": False,
    }
    return schema


POD = _pod()
"""What the pods of all endpoints have."""
