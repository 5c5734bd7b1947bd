"""The metadata of a manifest is checked as the API server checks it."""

from typing import Any

import pytest

from builders import resource_body
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.kube.errors import InvalidResource
from refused_resources import INVALID_METADATA


@pytest.mark.parametrize("metadata", INVALID_METADATA.values(), ids=INVALID_METADATA)
def test_metadata_that_the_api_server_rejects_is_rejected(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidResource, match=r"^metadata\."):
        parse_manifest(resource_body({}, **metadata))


METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "a number as name": ({"name": 123}, "name: must be a string: put the value in quotes"),
    "a truth value as name": ({"name": True}, "name: must be a string: put the value in quotes"),
    "a list as name": ({"name": ["x"]}, "name: must be a string"),
    "an object as name": ({"name": {}}, "name: must be a string"),
    "a day as name": ({"name": "2026-01-01"}, "name is also the name of a Service"),
    "null as name": ({"name": None}, "name is not set: add one"),
    "a number as namespace": ({"namespace": 5}, "namespace: must be a string: put the value in"),
    "a namespace in capitals": ({"namespace": "Team"}, "namespace: use at most 63 lowercase"),
    "a long namespace": ({"namespace": "a" * 64}, "namespace: use at most 63 lowercase"),
    "a number as uid": ({"uid": 5}, "uid: must be a string: put the value in quotes"),
    "text as labels": ({"labels": "x"}, "labels: must be an object"),
    "a number as label": ({"labels": {"a": 1}}, "labels.a: must be a string: put the value in"),
    "a label with a space": ({"labels": {"a": "b c"}}, "labels.a: a label has at most 63"),
    "a key with a space": ({"labels": {"a b": "c"}}, 'labels."a b": write the key as name or'),
    "a number as annotation": ({"annotations": {"a": 1}}, "annotations.a: must be a string"),
    "text as finalizers": ({"finalizers": "x"}, "finalizers: must be a list"),
    "text as generation": ({"generation": "1"}, "generation: must be an integer"),
    "an unknown field": ({"label": {}}, "label: unknown field; did you mean metadata.labels?"),
}


@pytest.mark.parametrize(("metadata", "message"), METADATA.values(), ids=METADATA)
def test_metadata_is_rejected_as_the_api_server_rejects_it(
    metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_manifest(resource_body({}, **metadata))

    assert str(refused.value).startswith(f"metadata.{message}")


def test_metadata_of_helm_and_of_an_export_is_accepted() -> None:
    metadata = {
        "namespace": "",
        "creationTimestamp": None,
        "labels": {"app.kubernetes.io/name": "x", "empty": ""},
        "annotations": {"helm.sh/hook": "a text, with anything"},
    }

    assert parse_manifest(resource_body({}, **metadata)).namespace == "default"
