"""The largest resource that the CRD's schema accepts."""

import json
from typing import Any

Schema = dict[str, Any]

MAX_KEY = 317
"""Characters of the longest key of a map."""


def largest_size(schema: Schema) -> int:
    """Return how many characters a document of a schema has at most, as JSON."""
    if schema.get("x-kubernetes-int-or-string"):
        return int(schema.get("maxLength", 16)) + 2
    if "enum" in schema:
        return max(len(json.dumps(one)) for one in schema["enum"])
    match schema["type"]:
        case "string":
            return int(schema["maxLength"]) + 2
        case "integer" | "number":
            return 24
        case "boolean":
            return len("false")
        case "array":
            return 2 + int(schema["maxItems"]) * (largest_size(schema["items"]) + 1)
    if "additionalProperties" in schema:
        values = largest_size(schema["additionalProperties"])
        return 2 + int(schema["maxProperties"]) * (MAX_KEY + 4 + values)
    fields = schema["properties"].items()
    return 2 + sum(len(name) + 4 + largest_size(one) for name, one in fields)
