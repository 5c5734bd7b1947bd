"""A server-side apply is YAML, whatever characters it holds."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from mistral_operator.kube.apply_text import apply_text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_read_as_yaml_is_what_was_meant(text: str) -> None:
    sent = apply_text({"message": text})

    assert yaml.safe_load(sent) == json.loads(sent) == {"message": text}


@given(st.text(st.characters(min_codepoint=0xD7F0)))
def test_no_surrogate_is_escaped(text: str) -> None:
    sent = apply_text({"message": text})

    assert "\\ud8" not in sent
    assert "\\udf" not in sent
    sent.encode()


def test_a_lone_surrogate_is_replaced() -> None:
    assert apply_text({"message": "cut \ud83d"}) == '{"message": "cut \\ufffd"}'
