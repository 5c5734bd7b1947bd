"""YAML documents as `kubectl` reads them before it sends them as JSON, and documents for it.

PyYAML and kubectl (sigs.k8s.io/yaml) differ: `1:30` is a number for PyYAML and a string for
kubectl, `1e5` the other way round, and `y` is true for kubectl only. What kubectl rejects, and what
depends on the reader, raises an error.
"""

import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = "plain"
"""Tag of scalars without quotes and tag."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False
    ),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[bB](?P<two>[01]+)|0[oO]?(?P<eight>[0-7]+)|0[xX](?P<sixteen>[0-9a-fA-F]+)"
    r"|(?P<ten>0|[1-9][0-9]*))"
)
_BASES = {"two": 2, "eight": 8, "ten": 10, "sixteen": 16}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_MAX_INTEGER = 2**63
"""Larger numbers are floats for the API server."""
_MAX_DIGITS = 400
"""A number of more digits is beyond a float, and kubectl reads it as a string."""
_MAX_NODES = 100_000
"""Aliases can multiply a short text; kubectl also rejects this."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with the tags that are written; a plain scalar gets `_PLAIN`."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node without one."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else f"{_PREFIX}str"
        return f"{_PREFIX}{'map' if kind is MappingNode else 'seq'}"


class _Values:
    """The values of one document."""

    def __init__(self) -> None:
        self._nodes = 0

    def value(self, node: Node, ancestors: tuple[Node, ...] = ()) -> Any:
        """Return the value of a node."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _error(node, "the document is too large, or repeats itself through aliases")
        if node in ancestors:
            raise _error(node, "an alias contains itself")
        inside = (*ancestors, node)
        if isinstance(node, MappingNode):
            return self._mapping(node, inside)
        if isinstance(node, SequenceNode):
            _check_tag(node, "seq")
            return [self.value(item, inside) for item in node.value]
        return _scalar(node)

    def _mapping(self, node: MappingNode, inside: tuple[Node, ...]) -> dict[str, Any]:
        _check_tag(node, "map")
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if _is_plain(key_node) and key_node.value == "<<":
                merged = self._merged(value_node, inside)
                continue
            key = _key(key_node)
            if key in result:
                raise _error(key_node, f"the key {key} is set twice")
            result[key] = self.value(value_node, inside)
        return {**merged, **result}

    def _merged(self, node: Node, inside: tuple[Node, ...]) -> dict[str, Any]:
        """Return the mapping of a merge key; the first of several has precedence."""
        result: dict[str, Any] = {}
        for one in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(one, MappingNode):
                raise _error(one, "<< must be followed by an object")
            result = {**self.value(one, inside), **result}
        return result


def yaml_documents(source: str | IO[str]) -> Iterator[Any]:
    """Yield the documents of a text.

    Raises:
        yaml.YAMLError: kubectl rejects the text, or its meaning depends on the reader.
    """
    loader = _Loader(source)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            yield _Values().value(node)
    finally:
        loader.dispose()


class _Dumper(yaml.SafeDumper):
    """Writes shared parts in full (a CRD must not have anchors) and long texts on one line.

    It puts texts in quotes that kubectl would read as something else, such as `y` and `1e5`.
    """

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, text: str) -> ScalarNode:
        style = None if isinstance(_plain(text), str) else "'"
        return self.represent_scalar(f"{_PREFIX}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def to_yaml(document: Mapping[str, Any]) -> str:
    """Return an object as YAML in the usual style."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _is_plain(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _PLAIN


def _key(node: Node) -> str:
    """Return a key as JSON has it: kubectl turns numbers and truth values into strings."""
    if not isinstance(node, ScalarNode):
        raise _error(node, "a key must be a string")
    value = _scalar(node)
    if isinstance(value, str) or str(value) == node.value:
        return str(value)
    read = {True: "true", False: "false", None: "null"}.get(value, value)
    raise _error(node, f"put the key {node.value} in quotes: YAML reads it as {read}")


def _scalar(node: Node) -> Any:
    text: str = node.value
    if _is_plain(node):
        return _plain(text)
    tag = node.tag.removeprefix(_PREFIX)
    if tag in {"str", "timestamp"}:
        return text
    kinds = {"bool": bool, "int": int, "float": int | float, "null": type(None)}
    if tag not in kinds:
        raise _error(node, f"the tag {_shown(node.tag)} is not supported: remove it")
    value = _plain(text)
    if isinstance(value, kinds[tag]) and (tag == "bool" or not isinstance(value, bool)):
        return value
    raise _error(node, f"{text!r} is not of the type !!{tag}")


def _plain(text: str) -> Any:
    """Return the value of a scalar without quotes and tag."""
    if text in _WORDS:
        return _WORDS[text]
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    digits = text.replace("_", "")
    if text[0] not in "+-.0123456789" or len(digits) > _MAX_DIGITS:
        return text
    if text[0] != "." and (integer := _INTEGER.fullmatch(digits)):
        base = next(name for name in _BASES if integer[name])
        return _as_json(int(integer["sign"] + integer[base], _BASES[base]))
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return text if number in {float("inf"), float("-inf")} else _as_json(number)
    return text


def _as_json(number: float) -> float:
    """Return a number as the API server reads it from JSON, which has one type of number."""
    if abs(number) >= _MAX_INTEGER:
        return float(number)
    return int(number) if number == int(number) else number


def _check_tag(node: Node, expected: str) -> None:
    if node.tag != f"{_PREFIX}{expected}":
        raise _error(node, f"the tag {_shown(node.tag)} is not supported: remove it")


def _shown(tag: str) -> str:
    return tag.replace(_PREFIX, "!!")


def _error(node: Node, message: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)
