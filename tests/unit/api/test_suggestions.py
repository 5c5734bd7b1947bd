"""An unknown field is refused with the field that was probably meant."""

from typing import Any

import pytest

from builders import resource_body
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.kube.errors import InvalidResource
from refused_resources import refusal

UNKNOWN = {
    "a typing error": ({"engine": {"contextLenght": 1}}, "spec.engine.contextLength"),
    "another case": ({"Engine": {}}, "spec.engine"),
    "a word as other tools write it": (
        {"engine": {"max_sequences": 1}},
        "spec.engine.maxSequences",
    ),
    "a field in the wrong place": ({"contextLength": 4096}, "spec.engine.contextLength"),
    "a field that is one level deeper": (
        {"systemPrompt": {"name": "x"}},
        "spec.systemPrompt.configMap.name",
    ),
    "a field that is two levels deeper": ({"gate": {"tools": 1}}, "spec.gate.limits.tools"),
    "a field deeper, beside a similar one": ({"kvCache": {}}, "spec.engine.kvCache"),
    "a field deeper, beside another similar one": (
        {"minReplicas": 1},
        "spec.autoscaling.minReplicas",
    ),
    "a field of two objects below": (
        {"pod": {"env": [{"name": "A", "valueFrom": {"name": "x"}}]}},
        "spec.pod.env.valueFrom.secretKeyRef.name or spec.pod.env.valueFrom.configMapKeyRef.name",
    ),
    "a field with another case that vLLM has elsewhere": (
        {"engine": {"kvCache": {"Dtype": "auto"}}},
        "spec.engine.kvCache.dtype",
    ),
    "a field in the wrong place with a typing error": (
        {"contextLenght": 4096},
        "spec.engine.contextLength",
    ),
    "a plural, with a field of that name elsewhere": (
        {"pod": {"volumes": [{"configMap": {"items": [{"key": "a", "paths": "b"}]}}]}},
        "spec.pod.volumes.configMap.items.path",
    ),
    "an item of a list": (
        {"pod": {"tolerations": [{"key": "a"}, {"efect": "NoExecute"}]}},
        "spec.pod.tolerations.effect",
    ),
}


@pytest.mark.parametrize(("spec", "meant"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_field_is_rejected_with_the_most_similar_one(
    spec: dict[str, Any], meant: str
) -> None:
    assert refusal(spec).endswith(f": unknown field; did you mean {meant}?")


NOTHING_NEAR = {
    "a field that many objects have": (
        {"gate": {"apiKeys": {"name": "x"}}},
        "; the only field of spec.gate.apiKeys is secret",
    ),
    "a word of another tool": (
        {"rollout": {"timeout": 60}},
        (
            "; the fields of spec.rollout are hold, maxWaitSeconds, maxRequests, maxSurge, prepull,"
            " prepullSeconds and paused"
        ),
    ),
    "an item of a list": (
        {"pod": {"volumeMounts": [{"zzz": 1}]}},
        "; the fields of spec.pod.volumeMounts are name, mountPath and readOnly",
    ),
    "an object of many fields": ({"engine": {"zzz": 1}}, ""),
}


@pytest.mark.parametrize(("spec", "fields"), NOTHING_NEAR.values(), ids=NOTHING_NEAR)
def test_where_nothing_is_near_the_fields_are_listed_if_they_are_few(
    spec: dict[str, Any], fields: str
) -> None:
    assert refusal(spec).endswith(f": unknown field{fields}")


NAMED_OTHERWISE = {
    "vLLM's name in camel case": ({"engine": {"maxModelLen": 1}}, "spec.engine.contextLength"),
    "vLLM's name with underscores": ({"engine": {"max_num_seqs": 1}}, "spec.engine.maxSequences"),
    "vLLM's flag": ({"engine": {"--max-model-len": 1}}, "spec.engine.contextLength"),
    "vLLM's name of a field elsewhere": ({"engine": {"dtype": "auto"}}, "spec.model.dtype"),
    "vLLM's name at the top": (
        {"gpu_memory_utilization": 0.9},
        "spec.engine.gpuMemoryUtilization",
    ),
    "the size of the KV cache": (
        {"engine": {"kvCache": {"size": 1}}},
        "spec.engine.kvCache.memory",
    ),
    "the memory of the copy of the KV cache": (
        {"engine": {"kvOffload": {"memory": 1}}},
        "spec.engine.kvOffload.size",
    ),
}


@pytest.mark.parametrize(("spec", "meant"), NAMED_OTHERWISE.values(), ids=NAMED_OTHERWISE)
def test_a_field_under_another_name_is_suggested(spec: dict[str, Any], meant: str) -> None:
    assert refusal(spec).endswith(f": unknown field; did you mean {meant}?")


def test_an_argument_of_vllm_that_is_no_field_is_suggested_as_one() -> None:
    assert refusal({"engine": {"enforceEager": True}}).endswith(
        ": unknown field; add --enforce-eager to spec.engine.extraArgs"
    )


def test_a_dotted_key_is_rejected_with_how_to_nest_it() -> None:
    assert refusal({"engine.contextLength": 4096}) == (
        'spec."engine.contextLength": unknown field; nest it: write contextLength below engine'
    )


def test_an_unknown_field_without_a_similar_one_is_rejected_without_a_suggestion() -> None:
    assert refusal({"zzz": 1}) == "spec.zzz: unknown field"


def test_an_unknown_top_level_field_is_rejected() -> None:
    with pytest.raises(InvalidResource, match=r"specs: unknown field; did you mean spec\?"):
        parse_manifest({**resource_body({}), "specs": {}})


def test_label_keys_are_not_checked_as_fields() -> None:
    manifest = resource_body({"pod": {"nodeSelector": {"zone": "a"}}})

    assert parse_manifest(manifest).spec.pod.node_selector == {"zone": "a"}
