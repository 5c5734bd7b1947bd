"""A bad resource is refused at once, by the API server, with a sentence that says what to write."""

import pytest

from cluster_namespace import Namespace, Object, resource
from refused_resources import (
    ACCEPTED,
    INVALID_METADATA,
    NAME_SENTENCE,
    NAMES,
    RULES,
    SCHEMA,
)

REFUSED = RULES | {case: (spec, sentence) for case, (spec, sentence, _) in SCHEMA.items()}


@pytest.mark.parametrize(("spec", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_bad_resource_is_refused_with_a_useful_sentence(
    namespace: Namespace, spec: Object, sentence: str
) -> None:
    assert sentence in namespace.refusal(resource("bad", spec))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_name_a_service_is_refused(namespace: Namespace, name: str) -> None:
    assert NAME_SENTENCE in namespace.refusal(resource(name))


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_what_templates_write_is_accepted(namespace: Namespace, spec: Object) -> None:
    namespace.apply(resource("small", spec))


@pytest.mark.parametrize("metadata", INVALID_METADATA.values(), ids=INVALID_METADATA)
def test_invalid_metadata_is_refused(namespace: Namespace, metadata: Object) -> None:
    body = resource("small")

    assert namespace.refusal({**body, "metadata": {**body["metadata"], **metadata}})


def test_a_resource_without_a_spec_is_refused(namespace: Namespace) -> None:
    body = {key: value for key, value in resource("small").items() if key != "spec"}

    assert 'missing required field "spec"' in namespace.refusal(body)
    assert namespace.refusal({**body, "spec": None})


@pytest.mark.parametrize(
    "argument",
    ["--enforce-eager", "--block-size=16", "--block_size=16", "--max-num-queued-reqs=10"],
)
def test_an_allowed_argument_is_taken_in_every_spelling(
    namespace: Namespace, argument: str
) -> None:
    namespace.apply(resource("small", {"engine": {"extraArgs": [argument]}}))
