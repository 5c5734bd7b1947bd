"""The CRD, generated from the models in `api`.

`mistral-operator crd` prints it, `make generate` writes it to crds/ and into the chart, and a test
compares both with the output of this module. Pydantic's JSON schema is not a structural schema, so
each difference is translated. An unsupported keyword raises an error.
"""

import json
from collections.abc import Mapping
from typing import Any

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, cel_text
from mistral_operator.api.resource import NAME_RULE, allowed_keys, short_keys
from mistral_operator.api.restarts import marked
from mistral_operator.api.spec import Spec
from mistral_operator.api.status import Status
from mistral_operator.kube import names

_KEPT = {
    "type", "format", "description", "pattern", "enum", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "default",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
_DROPPED = {"title", "$defs"}

_PRINTER_COLUMNS = [
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
    },
    {"name": "Desired", "type": "integer", "jsonPath": ".status.desiredReplicas"},
    {"name": "Up", "type": "integer", "jsonPath": ".status.readyReplicas"},
    {"name": "Context", "type": "integer", "jsonPath": ".status.effective.contextLength"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Model", "type": "string", "priority": 1, "jsonPath": ".spec.model.id"},
    {
        "name": "TP",
        "type": "integer",
        "priority": 1,
        "jsonPath": ".spec.engine.tensorParallelSize",
    },
    {"name": "vLLM", "type": "string", "priority": 1, "jsonPath": ".status.engine.vllmVersion"},
    {"name": "URL", "type": "string", "priority": 1, "jsonPath": ".status.url"},
    {
        "name": "Message",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
    },
]


class UnsupportedSchema(TypeError):
    """A model uses a feature that a structural schema cannot express."""


def structural(model: type[ApiModel]) -> dict[str, Any]:
    """Return the structural schema of a model.

    Raises:
        UnsupportedSchema: the model uses a feature without a translation.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _translate(schema, schema.get("$defs", {}))


def explained(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a part that users write, with sentences where Kubernetes has none.

    The API server quotes a pattern as it is, so patterns become rules with a message. `kubectl
    explain` shows no defaults, so descriptions end with them.
    """
    result = _with_messages(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = explained(result[key])
    if "properties" in result:
        result["properties"] = {
            name: _with_default(explained(inner)) for name, inner in result["properties"].items()
        }
    return result


def _with_messages(schema: dict[str, Any]) -> dict[str, Any]:
    pattern = schema.get("pattern")
    if pattern is None:
        return dict(schema)
    rules = schema.get("x-kubernetes-validations", [])
    if pattern == patterns.QUANTITY:
        # A pattern would cost too much in CEL: the API server assumes texts of any length here.
        return schema | {
            "pattern": patterns.NUMBER_AND_UNIT,
            "x-kubernetes-validations": [_QUANTITY, *rules],
        }
    rule = {"rule": f"self.matches('{cel_text(pattern)}')", "message": patterns.message(pattern)}
    rest = {key: value for key, value in schema.items() if key != "pattern"}
    return rest | {"x-kubernetes-validations": [rule, *rules]}


_QUANTITY = {
    # Without the units of a billionth and a millionth.
    "rule": (
        "type(self) == int || (isQuantity(self) && !self.endsWith('n') && !self.endsWith('u'))"
    ),
    "message": patterns.QUANTITY_MESSAGE,
}


def default_sentence(schema: Mapping[str, Any]) -> str:
    """Return the sentence about a default, or an empty string."""
    default = schema.get("default")
    if default is None or isinstance(default, dict | list) or default == "":
        return ""
    return f" Default: {default if isinstance(default, str) else json.dumps(default)}."


def _with_default(schema: dict[str, Any]) -> dict[str, Any]:
    sentence = default_sentence(schema)
    return schema | {"description": schema["description"] + sentence} if sentence else schema


def _translate(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    schema = _without_null(_inlined(schema, defs), defs)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string(schema)
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DROPPED or key in {"propertyNames", "required"}:
            continue
        if key in _KEPT:
            result[key] = value
        elif key == "properties":
            result[key] = {name: _translate(sub, defs) for name, sub in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            result[key] = _translate(value, defs)
        elif key == "patternProperties":
            # A map whose keys have a pattern, which a structural schema cannot express.
            (values,) = value.values()
            result["additionalProperties"] = _translate(values, defs)
        elif key == "const":
            result["enum"] = [value]
        else:
            raise UnsupportedSchema(f"{key} in {dict(schema)}")
    return _completed(result, schema)


def _inlined(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a reference by its target; keys beside the reference override those of the target."""
    if "$ref" not in schema:
        return dict(schema)
    target = defs[schema["$ref"].removeprefix("#/$defs/")]
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**target, **beside}


def _without_null(schema: dict[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn "T or null, default null" into an optional T."""
    options = schema.get("anyOf")
    if options is None or schema.get("x-kubernetes-int-or-string"):
        return schema
    concrete = [option for option in options if option != {"type": "null"}]
    if len(concrete) != 1:
        raise UnsupportedSchema(f"a choice of {len(concrete)} types: {schema}")
    if schema.get("default") is not None:
        raise UnsupportedSchema(f"a default that null could undo: {schema}")
    beside = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**_inlined(concrete[0], defs), **beside}


def _int_or_string(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("description", "pattern", "maxLength", "default", "x-kubernetes-validations")
    return {
        **{key: schema[key] for key in kept if key in schema},
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }


def _completed(result: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Add the parts that depend on the whole schema: defaults, allowed keys, required fields."""
    if "properties" in result and isinstance(result.get("default"), dict):
        # With {} the API server sets the default of each field.
        result["default"] = {}
    key_schema = schema.get("propertyNames", {})
    if allowed := key_schema.get("enum"):
        result.setdefault("maxProperties", len(allowed))
        result["x-kubernetes-validations"] = [allowed_keys(allowed).cel]
    elif longest := key_schema.get("maxLength"):
        # Only the length: the cost of a pattern is estimated for keys of any length.
        rules = result.get("x-kubernetes-validations", ())
        result["x-kubernetes-validations"] = [*rules, short_keys(longest).cel]
    if schema.get("required"):
        result["required"] = sorted(schema["required"])
    return result


def custom_resource_definition() -> dict[str, Any]:
    """Return the CRD as a plain object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names.PLURAL}.{names.GROUP}",
            "labels": {names.LABEL_NAME: names.MANAGED_BY},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": ["mistral"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": _PRINTER_COLUMNS,
        "schema": {"openAPIV3Schema": resource_schema()},
    }


def resource_schema() -> dict[str, Any]:
    """Return the structural schema of the whole resource."""
    return {
        "type": "object",
        "description": "One served endpoint of Mistral-Small on vLLM. Deleting it deletes its child"
        " objects, including the claim with the model unless spec.cache.whenDeleted is Retain.",
        "required": ["spec"],
        "properties": {
            "spec": explained(marked(structural(Spec))),
            "status": structural(Status),
        },
        "x-kubernetes-validations": [NAME_RULE.cel],
    }
