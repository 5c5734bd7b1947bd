"""A bad resource is refused at once, by the API server, with a sentence that says what to write."""

import pytest

from cluster_namespace import Namespace, Object, resource
from mistral_operator.kube.names import MAX_NAME

REFUSED: dict[str, tuple[Object, str]] = {
    "a tensor parallel size that does not divide the heads": (
        {"engine": {"tensorParallelSize": 3}},
        "must divide the model's 32 attention heads and 8 KV heads: write 1, 2, 4 or 8",
    ),
    "a context length in quotes": ({"engine": {"contextLength": "4096"}}, "without quotes"),
    "a context longer than the model's": (
        {"engine": {"contextLength": 131073}},
        "must be auto or a number of tokens from 1024 to 131072",
    ),
    "an argument that runs code": (
        {"engine": {"extraArgs": ["--trust-remote-code"]}},
        "allows only arguments that tune speed or memory",
    ),
    "the same with underscores": (
        {"engine": {"extraArgs": ["--trust_remote_code"]}},
        "allows only arguments that tune",
    ),
    "an abbreviation of it": (
        {"engine": {"extraArgs": ["--trust-remote"]}},
        "allows only arguments that tune",
    ),
    "an allowed argument with another inside": (
        {"engine": {"extraArgs": ["--seed 1 --trust-remote-code"]}},
        "write each item as --flag or --flag=value",
    ),
    "an argument that has a field": (
        {"engine": {"extraArgs": ["--max-num-seqs=4"]}},
        "use the resource's own field",
    ),
    "a loop that is stopped before it counts": (
        {"loops": {"repeats": 9, "stopRepeats": 8}},
        "stopRepeats must be at least repeats",
    ),
    "more replicas at least than at most": (
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        "spec.autoscaling.minReplicas is greater than maxReplicas",
    ),
    "KEDA's settings without KEDA": (
        {"autoscaling": {"maxReplicas": 2, "keda": {}}},
        "requires driver: KEDA",
    ),
    "a Prometheus that cannot know the target": (
        {
            "autoscaling": {
                "maxReplicas": 2,
                "driver": "KEDA",
                "keda": {"prometheus": "http://prometheus:9090"},
            }
        },
        "requires spec.autoscaling.targetInFlight",
    ),
    "autoscaling without a limit": ({"autoscaling": {}}, 'missing required field "maxReplicas"'),
    "strict tools without tools": (
        {"tools": {"enabled": False, "strict": "Enforce"}},
        "Enforce requires tool calls",
    ),
    "a path that is a pattern": (
        {"gate": {"paths": ["/v1/.*"]}},
        "spec.gate.paths[0]",
    ),
    "requests of no size": (
        {"gate": {"maxBodySize": "0"}},
        "spec.gate.maxBodySize must be at least 1Mi",
    ),
    "a CPU endpoint without a size of its KV cache": (
        {"device": "cpu"},
        "set spec.engine.kvCache.memory, for example to 4Gi",
    ),
    "AWQ weights in Mistral's format": (
        {"model": {"quantization": "awq"}},
        "set spec.model.format to huggingface",
    ),
    "two sources of the model": (
        {"model": {"source": {"hub": {}, "image": {"reference": "x"}}}},
        "allows only one of hub, persistentVolumeClaim and image",
    ),
    "a cache for a model that is not fetched": (
        {"cache": {}, "model": {"source": {"image": {"reference": "x"}}}},
        "remove spec.cache, or spec.model.source",
    ),
    "random weights without a tokenizer": (
        {"model": {"randomWeights": True}},
        "still requires params.json and tekken.json",
    ),
    "a system prompt without its ConfigMap": (
        {"systemPrompt": {"source": "ConfigMap"}},
        "set both or neither",
    ),
    "a ConfigMap that is not used": (
        {"systemPrompt": {"configMap": {"name": "x"}}},
        "set both or neither",
    ),
    "GPUs among the resources": (
        {"pod": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "allowed keys are cpu, memory, ephemeral-storage",
    ),
    "too little shared memory": ({"sharedMemory": "64Mi"}, "at least 512Mi"),
    "a replica count below zero": ({"replicas": -1}, "greater than or equal to 0"),
    "a replica count in words": ({"replicas": "two"}, "integer"),
    "a memory that is no quantity": ({"pod": {"gpu": {"memory": "much"}}}, "should match"),
    "a field that does not exist": ({"replica": 2}, "unknown field"),
    "a URL where a host belongs": (
        {"images": {"domains": ["https://example.com"]}},
        "should match",
    ),
    "a path that leaves the volume": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "x", "path": "../y"}}}},
        "should match",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_resource_is_refused_with_a_useful_sentence(namespace: Namespace, case: str) -> None:
    spec, sentence = REFUSED[case]

    assert sentence in namespace.refusal(resource("bad", spec))


@pytest.mark.parametrize("name", ["9lives", "a" * (MAX_NAME + 1), "dots.in.it"])
def test_a_name_that_cannot_name_a_service_is_refused(namespace: Namespace, name: str) -> None:
    assert "metadata.name is also the name of a Service" in namespace.refusal(resource(name))


def test_the_storage_class_of_a_cache_cannot_be_changed(namespace: Namespace) -> None:
    namespace.apply(resource("small", {"cache": {"storageClassName": "a"}}))

    said = namespace.refusal(resource("small", {"cache": {"storageClassName": "b"}}))

    assert "storageClassName is immutable" in said


@pytest.mark.parametrize(
    "argument",
    ["--enforce-eager", "--block-size=16", "--block_size=16", "--max-num-queued-reqs=10"],
)
def test_an_allowed_argument_is_taken_in_every_spelling(
    namespace: Namespace, argument: str
) -> None:
    namespace.apply(resource("small", {"engine": {"extraArgs": [argument]}}))
