"""The message for an invalid value says what to write."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from mistral_operator.api import Spec
from mistral_operator.api.crd import structural
from mistral_operator.api.patterns import EXAMPLES
from refused_resources import refusal

SENTENCES: dict[str, tuple[Any, str]] = {
    "a size with another unit": (
        {"sharedMemory": "1GB"},
        "spec.sharedMemory: write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a size in bytes": (
        {"sharedMemory": 1073741824},
        "spec.sharedMemory: write it as a quoted quantity, such as 1Gi",
    ),
    "a small letter": (
        {"gate": {"maxBodySize": "1gi"}},
        "spec.gate.maxBodySize: write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a truth value as quantity": (
        {"cache": {"size": True}},
        "spec.cache.size: write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "half a CPU": (
        {"pod": {"resources": {"limits": {"cpu": 0.5}}}},
        'spec.pod.resources.limits.cpu: write "0.5" or 500m',
    ),
    "a word for CPUs": (
        {"pod": {"resources": {"limits": {"cpu": "two"}}}},
        'spec.pod.resources.limits.cpu: write it as a quoted quantity, such as "2" or 500m',
    ),
    "a number where text is meant": (
        {"model": {"revision": 100000}},
        "spec.model.revision: must be a string: put the value in quotes",
    ),
    "a truth value among labels": (
        {"pod": {"nodeSelector": {"gpu": True}}},
        "spec.pod.nodeSelector.gpu: must be a string: put the value in quotes",
    ),
    "a list where text is meant": ({"image": []}, "spec.image: must be a string"),
    "text where an object is meant": ({"engine": "x"}, "spec.engine: must be an object"),
    "a list where a map is meant": (
        {"pod": {"nodeSelector": []}},
        "spec.pod.nodeSelector: must be an object",
    ),
    "text where a list is meant": (
        {"pod": {"tolerations": "x"}},
        "spec.pod.tolerations: must be a list",
    ),
    "a spec that is text": ("x", "spec: must be an object"),
    "an item of a list": (
        {"pod": {"tolerations": [{"operator": "Is"}]}},
        "spec.pod.tolerations[0].operator: must be 'Exists' or 'Equal'",
    ),
    "null in a list": (
        {"pod": {"imagePullSecrets": ["a", None]}},
        "spec.pod.imagePullSecrets[1]: must be a string",
    ),
    "no number": (
        {"engine": {"temperature": float("nan")}},
        "spec.engine.temperature: not a number (NaN): write a number",
    ),
    "no number for an integer": (
        {"replicas": float("nan")},
        "spec.replicas: not a number (NaN): write a number",
    ),
    "half a replica": ({"replicas": 1.5}, "spec.replicas: must be an integer"),
    "a number in quotes": ({"replicas": "2"}, "spec.replicas: must be an integer, without quotes"),
    "a share in quotes": (
        {"engine": {"temperature": "0.5"}},
        "spec.engine.temperature: must be a number, without quotes",
    ),
    "a truth value in quotes": (
        {"suspend": "true"},
        "spec.suspend: must be true or false, without quotes",
    ),
    "too many": ({"replicas": 1001}, "spec.replicas: must be less than or equal to 1000"),
    "a word that YAML reads as false": (
        {"loops": {"action": False}},
        (
            "spec.loops.action: must be 'Disabled', 'Observe', 'Stop' or 'Off'; YAML reads Off, On,"
            " No and Yes as true or false, so put the value in quotes"
        ),
    ),
    "such a word where none of the values is one": (
        {"oom": {"policy": False}},
        (
            "spec.oom.policy: must be 'Observe', 'Recommend' or 'Apply'; YAML reads Off, On, No and"
            " Yes as true or false"
        ),
    ),
    "a fraction of memory without a unit": (
        {"engine": {"kvCache": {"memory": 1.5}}},
        (
            "spec.engine.kvCache.memory: write it as a quoted quantity, such as 40Gi or 40G;"
            " 1.5 GiB is 1.5Gi"
        ),
    ),
    "a quantity with a negative exponent": (
        {"cache": {"size": "1e-3"}},
        "spec.cache.size: write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a path that is a pattern": (
        {"gate": {"paths": ["/score", "/v1/.*"]}},
        "spec.gate.paths[1]: not valid: write a value such as /score or /v1/*",
    ),
    "a required field that is missing": (
        {"autoscaling": {}},
        "spec.autoscaling.maxReplicas: required, but not set",
    ),
}


@pytest.mark.parametrize(("spec", "message"), SENTENCES.values(), ids=SENTENCES)
def test_an_invalid_value_is_rejected_with_what_to_write(spec: Any, message: str) -> None:
    assert refusal(spec) == message


def patterns(schema: dict[str, Any]) -> Iterator[str]:
    """Yield every pattern of a schema."""
    if "pattern" in schema:
        yield schema["pattern"]
    for inner in schema.get("properties", {}).values():
        yield from patterns(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from patterns(schema[key])


@pytest.mark.parametrize("pattern", sorted(set(patterns(structural(Spec)))))
def test_every_pattern_has_examples_that_match(pattern: str) -> None:
    assert all(re.search(pattern, example) for example in EXAMPLES[pattern].split(" or "))


def test_null_in_a_list_is_rejected() -> None:
    assert refusal({"pod": {"imagePullSecrets": [None]}}).startswith("spec.pod.imagePullSecrets")


def test_a_required_field_that_is_null_is_missing() -> None:
    assert refusal({"autoscaling": {"maxReplicas": None}}).startswith(
        "spec.autoscaling.maxReplicas: "
    )


def test_an_empty_list_is_rejected_in_words_of_a_manifest() -> None:
    required: dict[str, Any] = {"nodeSelectorTerms": []}
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}

    assert refusal({"pod": {"affinity": {"nodeAffinity": node_affinity}}}).endswith(
        "nodeSelectorTerms: must have at least 1 item"
    )
