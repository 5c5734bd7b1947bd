"""Documents that a structural schema allows, for Hypothesis.

The rules in CEL are left out: a document that breaks one has to be rejected with a sentence. Two of
three specs keep all rules, since few optional fields are drawn at once.
"""

import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from hostile_resources import VALUES
from mistral_operator.api import patterns

Schema = dict[str, Any]
Documents = st.SearchStrategy[Any]

_TYPICAL: dict[str, tuple[str, ...]] = {
    patterns.QUANTITY: ("1Gi", "64Mi", "16Gi", "1Ti", "2", "500m", "1.5Gi", "1Pi", "1e9", "2E+10"),
    patterns.OBJECT_NAME: ("a", "models", "a.b-c", "x" * 63, "api-keys"),
    patterns.IMAGE: ("server:2", "registry.example.com:5000/a/b:1@sha256:" + "0" * 64),
    patterns.URL: ("https://hub.example.com", "http://prometheus.monitoring:9090/x/"),
    patterns.CIDR: ("0.0.0.0/0", "::/0", "10.0.0.0/8", "169.254.169.254/32", "fd00:ec2::/32"),
    patterns.EXTENDED_RESOURCE: ("amd.com/gpu", "nvidia.com/mig-1g.5gb"),
}
"""Values of a pattern besides those that the pattern gives: the usual ones, and the edges that a
pattern does not know."""

_TEXTS: dict[str, tuple[str, ...]] = {
    "extraArgs": ("--seed=7", "--enforce-eager", "--block_size=16", "--stream-interval=2=3"),
    "requests": ("cpu", "memory", "ephemeral-storage"),
    "limits": ("cpu", "memory", "ephemeral-storage"),
    "nodeSelector": ("kubernetes.io/hostname", "nvidia.com/gpu.product", "a"),
}
"""Items and keys that no pattern gives, by the field that has them."""

_FIELDS_AT_ONCE = 3


def documents(schema: Schema, field: str = "") -> Documents:
    """Return the documents that a schema allows; `field` is the name of theirs."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        texts = _texts(schema) if "pattern" in schema else st.just("auto")
        numbers = st.sampled_from([0, 1, 1024, 4096, 2**31, 2**53])
        return texts | texts | numbers | st.integers(0, 2**53)
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema["minimum"], schema["maximum"]
            return st.sampled_from([low, high]) | st.integers(low, high) | st.integers(low, low + 9)
        case "number":
            # A share of memory has a rule instead of bounds.
            return st.floats(schema.get("minimum", 0.1), schema.get("maximum", 0.99))
        case "string":
            return _texts(schema, field)
        case "array":
            items = documents(schema["items"], field)
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=3)
    if "additionalProperties" in schema:
        keys = st.sampled_from(_TEXTS.get(field, ("app", "example.com/x")))
        return st.dictionaries(keys, documents(schema["additionalProperties"]), max_size=3)
    return _objects(schema)


def _objects(schema: Schema) -> Documents:
    """Return objects with what is required, and a few of the other fields."""
    fields = {name: documents(one, name) for name, one in schema.get("properties", {}).items()}
    required = schema.get("required", ())
    optional = sorted(fields.keys() - {*required})

    @st.composite
    def draw_object(draw: st.DrawFn) -> dict[str, Any]:
        names: Sequence[str] = ()
        if optional:
            names = draw(st.lists(st.sampled_from(optional), max_size=_FIELDS_AT_ONCE, unique=True))
        return {name: draw(fields[name]) for name in (*required, *names)}

    return draw_object()


def _texts(schema: Schema, field: str = "") -> Documents:
    longest, shortest = schema["maxLength"], schema.get("minLength", 0)
    pattern = schema.get("pattern")
    if pattern is None:
        free = st.text(st.characters(codec="utf-8"), min_size=shortest, max_size=20)
        return st.sampled_from(_TEXTS.get(field, ("text",))) | free
    matching = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(
        lambda text: shortest <= len(text) <= longest
    )
    typical = _TYPICAL.get(pattern, ())
    return st.sampled_from(typical) | matching if typical else matching


@st.composite
def with_a_wild_value(draw: st.DrawFn, base: Documents) -> Any:
    """Return a document of which one value, at any depth, is anything at all."""
    document = draw(base)
    value = draw(
        st.sampled_from(VALUES)
        | st.recursive(st.none() | st.text() | st.integers(), _nested, max_leaves=4)
    )
    return _replaced(draw, document, value)


def _nested(inner: Documents) -> Documents:
    return st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2)


def _replaced(draw: st.DrawFn, document: Any, value: Any) -> Any:
    if isinstance(document, dict) and document:
        name = draw(st.sampled_from(sorted(document)))
        return {**document, name: _replaced(draw, document[name], value)}
    if isinstance(document, list) and document:
        at = draw(st.integers(0, len(document) - 1))
        return [*document[:at], _replaced(draw, document[at], value), *document[at + 1 :]]
    return value
