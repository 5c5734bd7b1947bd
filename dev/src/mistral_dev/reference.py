"""docs/reference.md from the CRD: one table for each object of the API. Used by `generate`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mistral_operator.api.crd import default_sentence
from mistral_operator.api.patterns import NUMBER_AND_UNIT, QUANTITY

Schema = Mapping[str, Any]

_INTRODUCTION = """\
# API reference

<!-- Made by `make generate` from the models in operator/src/mistral_operator/api. -->

`{kind}`, short name `{short}`, of `{group}/{version}`. `spec: {{}}` is valid and is the
recommended endpoint; every field below is optional unless it says *required*.

The API server rejects a resource that violates a limit or a rule, with the message listed here. A
field without a default is unset; its description says what that means. A quantity is a Kubernetes
quantity, such as `500m`, `2` or `16Gi`. `kubectl explain {singular}.spec` shows the same text.
"""

_COLUMNS = """\
## What `kubectl get {short}` shows

Columns marked *wide* appear only with `-o wide`.

| Column | Field |
|---|---|
{rows}
"""


def reference(definition: Schema) -> str:
    """Return the API reference of a CRD's only version, as Markdown."""
    names, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [
        _INTRODUCTION.format(
            kind=names["kind"],
            short=names["shortNames"][0],
            singular=names["singular"],
            group=definition["spec"]["group"],
            version=version["name"],
        ),
        *_root_rules(schema),
        *_objects("spec", schema["properties"]["spec"]),
        *_objects("status", schema["properties"]["status"]),
        _columns(names["shortNames"][0], version["additionalPrinterColumns"]),
    ]
    return "\n".join(parts)


def _root_rules(schema: Schema) -> Iterator[str]:
    lines = _rules(schema)
    if lines:
        yield "\n".join(["Rules for the resource as a whole:\n", *lines, ""])


def _objects(path: str, schema: Schema) -> Iterator[str]:
    """Yield the section of an object, then those of the objects in it."""
    yield _section(path, schema)
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            yield from _objects(_inner_path(f"{path}.{name}", field), inner)


def _inner_path(path: str, field: Schema) -> str:
    return f"{path}[]" if field.get("type") == "array" else path


def _section(path: str, schema: Schema) -> str:
    lines = [f"## {path}", ""]
    if "description" in schema:
        lines += [schema["description"], ""]
    lines += ["| Field | Type | Default | Description |", "|---|---|---|---|"]
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        default = _default(field, name in required)
        lines.append(_row(f"`{name}`", _type(path, name, field), default, _description(field)))
    rules = _rules(schema)
    if rules:
        lines += ["", "Rules:", "", *rules]
    return "\n".join([*lines, ""])


def _type(path: str, name: str, field: Schema) -> str:
    """Return the type, with a link where it has a section of its own."""
    if "items" in field:
        return f"list of {_type(path, f'{name}[]', field['items'])}"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(path, name, field['additionalProperties'])}"
    if "properties" in field:
        return f"[object](#{_anchor(f'{path}.{name}')})"
    if field.get("x-kubernetes-int-or-string"):
        return "quantity" if _is_quantity(field) else "integer or string"
    return str(field["type"])


def _is_quantity(field: Schema) -> bool:
    return field.get("pattern") in {QUANTITY, NUMBER_AND_UNIT}


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return "".join(one for one in heading.lower() if one.isalnum() or one in "-_")


def _default(field: Schema, required: bool) -> str:
    if required:
        return "*required*"
    # The default of an object is {}, which only lets the defaults of its fields in.
    if "default" not in field or "properties" in field:
        return ""
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`"


def _description(field: Schema) -> str:
    """Return the description, the limits, and the rules of the field itself."""
    # The default has a column of its own.
    sentences = [field.get("description", "").removesuffix(default_sentence(field))]
    # The rules of an object are in its own section.
    if "properties" not in field:
        sentences += [*_limits(field), *_messages(field)]
    return " ".join(sentence for sentence in sentences if sentence)


_UNITS = {"maxLength": "characters", "maxItems": "items", "maxProperties": "keys"}
"""Upper limits of size. Lower limits only require that a value is not empty."""


def _limits(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield f"One of {', '.join(f'`{value}`' for value in field['enum'])}."
    match field.get("minimum"), field.get("maximum"):
        case None, None:
            pass
        case least, None:
            yield f"At least {least}."
        case None, most:
            yield f"At most {most}."
        case least, most:
            yield f"From {least} to {most}."
    units = {key: unit for key, unit in _UNITS.items() if key in field}
    if "maxProperties" in units and any(map(_lists_keys, _messages(field))):
        del units["maxProperties"]
    yield from (f"At most {field[key]} {unit}." for key, unit in units.items())
    if keys := field.get("x-kubernetes-list-map-keys"):
        yield f"Each `{'`, `'.join(keys)}` once."
    if "pattern" in field and not _is_quantity(field):
        yield f"Matches `{field['pattern']}`."
    if "properties" not in field.get("items", {"properties": ()}):
        yield from (f"Each: {limit}" for limit in _limits(field["items"]))


def _messages(field: Schema) -> Iterator[str]:
    for rule in field.get("x-kubernetes-validations", ()):
        message = f"{rule['message']}."
        # As it is: most begin with the path of a field.
        yield message[0].upper() + message[1:] if _lists_keys(message) else message


def _lists_keys(message: str) -> bool:
    """Tell whether a rule lists the keys of a map, which also limits their number."""
    return message.lower().startswith("allowed keys are ")


def _rules(schema: Schema) -> list[str]:
    return [f"- {message}" for message in _messages(schema)]


def _columns(short: str, columns: list[Schema]) -> str:
    rows = "\n".join(
        _row(
            f"{column['name']} (*wide*)" if column.get("priority") else column["name"],
            f"`{column['jsonPath'].removeprefix('.')}`",
        )
        for column in columns
    )
    return _COLUMNS.format(short=short, rows=rows)


def _row(*cells: str) -> str:
    """Return a row of a table; a bar within a cell would end it, even in code."""
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
