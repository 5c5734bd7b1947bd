"""YAML is read as kubectl does; the values are those that `kubectl annotate --local` printed."""

from typing import Any

import pytest
import yaml

from mistral_operator.api.yaml_documents import to_yaml, yaml_documents

VALUES: dict[str, Any] = {
    "1:30": "1:30",
    "1e5": 100000,
    "1e-7": 1e-7,
    "2.0": 2,
    "1.": 1,
    ".5": 0.5,
    "+.5": 0.5,
    "-.5": -0.5,
    "0.90": 0.9,
    "010": 8,
    "08": 8,
    "0_7": 7,
    "0o10": 8,
    "0x1F": 31,
    "0b11": 3,
    "-0b11": -3,
    "+5": 5,
    "1_000": 1000,
    "1__0": 10,
    "1_0.5": 10.5,
    "1e400": "1e400",
    "1e20": 1e20,
    "12345678901234567890123": 1.2345678901234568e22,
    "2026-01-01": "2026-01-01",
    "2026-02-30": "2026-02-30",
    "y": True,
    "N": False,
    "off": False,
    "~": None,
    "": None,
    "''": "",
    "'1'": "1",
    "=": "=",
    "!!str 5": "5",
    "!!int '3'": 3,
    "!!float 2": 2,
    "!!timestamp 2026-01-01": "2026-01-01",
    "[1, {a: b}]": [1, {"a": "b"}],
    "{1: x}": {"1": "x"},
    "{1.5: x}": {"1.5": "x"},
}


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=VALUES)
def test_a_value_is_read_as_kubectl_reads_it(text: str, value: Any) -> None:
    (document,) = yaml_documents(f"a: {text}")

    assert document == {"a": value}
    assert type(document["a"]) is type(value)


REJECTED = {
    "!!bool x": "'x' is not of the type !!bool",
    "!!int x": "'x' is not of the type !!int",
    "!!int true": "'true' is not of the type !!int",
    "!!null x": "'x' is not of the type !!null",
    "!!binary aGk=": "the tag !!binary is not supported",
    "!!set {b}": "the tag !!set is not supported",
    "!!python/name:os.system x": "the tag !!python/name:os.system is not supported",
    "&l [*l]": "an alias contains itself",
    "&l {b: *l}": "an alias contains itself",
    "&l {<<: *l}": "an alias contains itself",
    "{<<: 1}": "<< must be followed by an object",
    "{b: 1, b: 2}": "the key b is set twice",
    "{on: 1}": "put the key on in quotes: YAML reads it as true",
    "{010: 1}": "put the key 010 in quotes: YAML reads it as 8",
    "{~: 1}": "put the key ~ in quotes: YAML reads it as null",
    "{[1]: 1}": "a key must be a string",
}


@pytest.mark.parametrize(("text", "message"), REJECTED.items(), ids=REJECTED)
def test_what_is_ambiguous_is_rejected_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"line 1, column") as error:
        list(yaml_documents(f"a: {text}"))

    assert message in str(error.value)


def test_aliases_that_multiply_a_text_are_rejected() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 8)}]" for n in range(8)]

    with pytest.raises(yaml.YAMLError, match="repeats itself through aliases"):
        list(yaml_documents("\n".join(lines)))


def test_merge_keys_are_merged_below_the_own_ones() -> None:
    text = "a: &a {x: 1, y z: 1}\nb: {<<: [*a, {x: 2, w: 2}], w: 3}"
    (document,) = yaml_documents(text)

    assert document["b"] == {"x": 1, "y z": 1, "w": 3}


def test_each_document_of_a_text_is_yielded() -> None:
    assert list(yaml_documents("a: 1\n---\n---\nb\n")) == [{"a": 1}, None, "b"]


@pytest.mark.parametrize("text", [*VALUES, "1.5", "yes", "null", ".inf", "0x", "1e5x", "a: b"])
def test_a_text_that_is_written_is_the_same_text_for_kubectl(text: str) -> None:
    document = {"a": text, "b": [text], text: "c"}

    assert [*yaml_documents(to_yaml(document))] == [document]


def test_a_text_without_another_meaning_is_written_without_quotes() -> None:
    assert to_yaml({"a": "v1", "b": "64Gi"}) == "a: v1\nb: 64Gi\n"
