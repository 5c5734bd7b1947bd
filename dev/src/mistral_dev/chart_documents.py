"""The chart's values.schema.json, and the table in its README.

Both follow from values.yaml, which has names, defaults and descriptions, and from the types in
`chart_values.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mistral_dev.chart_values import ChartValues
from mistral_dev.errors import UsageError


@dataclass(frozen=True)
class Value:
    """One value of values.yaml, or a group of values."""

    path: tuple[str, ...]
    default: Any
    description: str


def read_values(text: str) -> dict[tuple[str, ...], Value]:
    """Return the values of values.yaml by path, in file order.

    Raises:
        UsageError: a value has no comment, or values.yaml and the model differ.
    """
    try:
        ChartValues.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise UsageError(f"values.yaml and mistral_dev/chart_values.py differ: {error}") from error
    lines = text.splitlines()
    root: Any = yaml.compose(text)
    return {value.path: value for value in _walk(root, _schema_of(ChartValues), lines, ())}


def _walk(
    node: yaml.Node, schema: dict[str, Any], lines: list[str], above: tuple[str, ...]
) -> Iterator[Value]:
    """Yield the values below a node, down to those that the model does not describe."""
    for key_node, value_node in node.value:
        path = (*above, key_node.value)
        comment = _comment_above(lines, key_node.start_mark.line)
        if not comment:
            raise UsageError(
                f"values.yaml: {'.'.join(path)} has no comment. Write one above it: it is the"
                " value's documentation."
            )
        yield Value(path, yaml.safe_load(yaml.serialize(value_node)), comment)
        below = schema["properties"][path[-1]]
        if _is_group(below, value_node.value):
            yield from _walk(value_node, below, lines, path)


def _is_group(schema: dict[str, Any], default: Any) -> bool:
    """Tell whether a value is a group of values; an object that is empty by default is a value."""
    return "properties" in schema and bool(default)


def _comment_above(lines: list[str], line: int) -> str:
    """Return the comment that ends right above a line, as one paragraph."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(text.strip().lstrip("#").strip() for text in lines[first:line])


def values_schema(text: str) -> str:
    """Return values.schema.json: types from the model, the rest from values.yaml.

    Nothing is required, since an unset value has its default.
    """
    schema = _described(_schema_of(ChartValues), read_values(text), ())
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart mistral-small-operator",
        **schema,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model in one piece, without what pydantic adds for itself."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")

    def tidy(one: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in one:
            return tidy(definitions[one["$ref"].removeprefix("#/$defs/")])
        if "anyOf" in one:
            # A value that may be null: Helm reads the types of such a value from a list.
            some, _ = one["anyOf"]
            return {**tidy(some), "type": [some["type"], "null"]}
        kept = {
            key: of for key, of in one.items() if key not in {"title", "required", "description"}
        }
        if "properties" in kept:
            kept["properties"] = {key: tidy(of) for key, of in kept["properties"].items()}
        return kept

    return tidy(schema)


def _described(
    schema: dict[str, Any], values: dict[tuple[str, ...], Value], path: tuple[str, ...]
) -> dict[str, Any]:
    """Return a schema with each value's description and default."""
    if path:
        schema = {"description": values[path].description, **schema}
    if path and not _is_group(schema, values[path].default):
        return schema | {"default": values[path].default}
    properties = {
        key: _described(below, values, (*path, key)) for key, below in schema["properties"].items()
    }
    return schema | {"properties": properties}


def values_table(text: str) -> str:
    """Return the values as a Markdown table; a group precedes its values and has no default."""
    values = read_values(text)
    groups = {path[:-1] for path in values}
    rows = ["| Value | Default | Description |", "|---|---|---|"]
    for value in values.values():
        default = "" if value.path in groups else f"`{json.dumps(value.default)}`"
        cells = (f"`{'.'.join(value.path)}`", default, value.description)
        escaped = (cell.replace("|", "\\|") for cell in cells)
        rows.append(f"| {' | '.join(escaped)} |")
    return "\n".join(rows) + "\n"
