"""Documents of the API server, also those that break a decoder."""

import json
from typing import Any

import pytest

from mistral_operator.kube.documents import (
    METADATA_LIST,
    OBJECT,
    OBJECT_LIST,
    WATCH_EVENT,
    Decoder,
    NotADocument,
    shallow,
)

DEEP = b'{"f:a":' * 5_000 + b"1" + b"}" * 5_000
METADATA = b'{"name":"a","resourceVersion":"7","managedFields":[{"fieldsV1":' + DEEP + b"}]}"
PLAIN = b'{"metadata":{"name":"b","resourceVersion":"8"},"spec":{"a":1}}'
LIST = (
    b'{"metadata":{"resourceVersion":"9"},"items":[{"metadata":' + METADATA + b"}," + PLAIN + b"]}"
)


@pytest.mark.parametrize("decode", [METADATA_LIST, OBJECT_LIST])
def test_an_object_that_is_nested_too_deep_hides_no_other(decode: Decoder[Any]) -> None:
    listed = decode(LIST)

    assert [one["metadata"]["name"] for one in listed["items"]] == ["a", "b"]


def test_an_event_about_an_object_that_is_nested_too_deep_is_read() -> None:
    event = WATCH_EVENT(b'{"type":"ADDED","object":{"metadata":' + METADATA + b"}}")

    assert event.version == 7


def test_a_shallow_document_is_the_same_but_for_what_is_deep() -> None:
    text = json.dumps({"a": ['brackets in "texts": ]}[{\\', {"b": [1, {}, []]}], "é": None})
    assert json.loads(shallow(text)) == json.loads(text)
    assert json.loads(shallow(LIST))["items"][1] == json.loads(PLAIN)


@pytest.mark.parametrize("text", [b"[" * 5000, b"", b"\xff", b"[1]", b"null", b'{"a":'])
def test_what_is_no_object_is_named_so(text: bytes) -> None:
    with pytest.raises(NotADocument):
        OBJECT(text)
