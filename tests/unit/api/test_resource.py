"""The API's promises: what `spec: {}` means, what is ignored, and what an error names."""

import copy
from operator import attrgetter
from typing import Any

import pytest
import yaml

from mistral_operator.api import Spec, parse_resource, parse_spec
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.api.speedups import KVOffload
from mistral_operator.kube.errors import InvalidResource, OperatorError
from mistral_operator.kube.names import API_VERSION, KIND

DEFAULTS: dict[str, Any] = {
    "model.id": "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    "model.revision": "main",
    "model.format": "mistral",
    "model.dtype": "bfloat16",
    "model.randomWeights": False,
    "model.source": {},
    "engine.tensorParallelSize": 2,
    "engine.contextLength": "auto",
    "engine.maxBatchedTokens": 8192,
    "engine.gpuMemoryUtilization": 0.90,
    "engine.kvCache": {"dtype": "auto"},
    "engine.temperature": 0.15,
    "engine.apiServers": 1,
    "engine.extraArgs": [],
    "engine.workarounds": "Auto",
    "images.perPrompt": 10,
    "images.domains": [],
    "tools.enabled": True,
    "tools.strict": "Observe",
    "routing.policy": "None",
    "routing.replicas": 2,
    "oom.policy": "Recommend",
    "oom.maxSteps": 4,
    "oom.stopAfter": 3,
    "oom.quietSeconds": 300,
    "oom.minContextLength": 8192,
    "oom.minImagesPerPrompt": 1,
    "oom.minSequences": 8,
    "oom.minBatchedTokens": 2048,
    "oom.minGpuMemoryUtilization": 0.80,
    "oom.maxGpuMemoryUtilization": 0.95,
    "oom.maxSharedMemory": "8Gi",
    "loops.action": "Observe",
    "loops.repeats": 4,
    "loops.minTokens": 256,
    "loops.stopRepeats": 8,
    "loops.stopMinTokens": 512,
    "gate.paths": [],
    "gate.allowedOrigins": [],
    "gate.limits.choices": 128,
    "gate.limits.prompts": 1024,
    "gate.limits.generations": 2048,
    "gate.limits.messages": 8192,
    "gate.limits.contentParts": 8192,
    "gate.limits.tools": 512,
    "gate.limits.guidedChoices": 1024,
    "gate.limits.stopStrings": 256,
    "gate.limits.logprobs": 128,
    "gate.limits.schemaBytes": 262_144,
    "gate.limits.repetitions": 20_000,
    "gate.limits.stringLength": 1_048_576,
    "gate.limits.repetitionPatternTokens": 128,
    "gate.limits.imagePixels": 33_554_432,
    "gate.limits.totalImagePixels": 134_217_728,
    "gate.limits.textBytes": 4_194_304,
    "gate.limits.brackets": 131_072,
    "gate.limits.headerBytes": 65_536,
    "gate.limits.headSeconds": 30,
    "gate.limits.bodySeconds": 300,
    "gate.limits.receivedBytes": 1_073_741_824,
    "gate.limits.refusalsPerSecond": 20,
    "gate.maxBodySize": "64Mi",
    "gate.fitMaxTokens": True,
    "gate.normalizeToolIds": True,
    "gate.acceptDeveloper": True,
    "gate.honestFinish": True,
    "systemPrompt.source": "None",
    "replicas": 1,
    "rollout.hold": "Auto",
    "rollout.maxWaitSeconds": 600,
    "rollout.maxRequests": 500,
    "rollout.maxSurge": 0,
    "rollout.prepull": "Never",
    "rollout.prepullSeconds": 1200,
    "rollout.paused": False,
    "suspend": False,
    "device": "cuda",
    "imagePullPolicy": "IfNotPresent",
    "pod.resources.requests": {},
    "pod.resources.limits": {},
    "pod.gpu.resourceName": "nvidia.com/gpu",
    "pod.nodeSelector": {},
    "pod.tolerations": [],
    "pod.topologySpread": [],
    "pod.imagePullSecrets": [],
    "pod.env": [],
    "pod.volumes": [],
    "pod.volumeMounts": [],
    "pod.hostAliases": [],
    "service.type": "ClusterIP",
    "sharedMemory": "2Gi",
    "startupSeconds": 1800,
    "drainSeconds": 120,
    "networkPolicy": True,
    "network.destinations": [],
}
"""What people rely on who write `spec: {}`. Changing a line changes running endpoints."""

UNSET = {"autoscaling", "cache", "engine.kv_offload", "engine.speculation", "image"}

BAD: dict[str, tuple[Any, str]] = {
    "not a number": ({"engine": {"tensorParallelSize": "two"}}, "spec.engine.tensorParallelSize"),
    "too small": ({"startupSeconds": 1}, "spec.startupSeconds"),
    "too large": ({"engine": {"gpuMemoryUtilization": 1.5}}, "spec.engine.gpuMemoryUtilization"),
    "unknown word": ({"device": "tpu"}, "spec.device"),
    "not a quantity": ({"sharedMemory": "much"}, "spec.sharedMemory"),
    "a quantity of hundreds of digits": (
        {"pod": {"resources": {"limits": {"cpu": "1" + "0" * 400}}}},
        "spec.pod.resources.limits.cpu",
    ),
    "a memory of hundreds of digits": (
        {"pod": {"gpu": {"memory": "1" + "0" * 400 + "Gi"}}},
        "spec.pod.gpu.memory",
    ),
    "a memory beyond every machine": (
        {"engine": {"kvCache": {"memory": "48Pi"}}},
        "spec.engine.kvCache.memory",
    ),
    "an offloaded cache beyond every machine": (
        {"engine": {"kvOffload": {"size": "8Ei"}}},
        "spec.engine.kvOffload.size",
    ),
    "an offloaded cache without a size": (
        {"engine": {"kvOffload": {}}},
        "spec.engine.kvOffload.size",
    ),
    "more proposed tokens than a step may have": (
        {"engine": {"speculation": {"tokens": 17}}},
        "spec.engine.speculation.tokens",
    ),
    "shared memory beyond every machine": ({"sharedMemory": "8Ei"}, "spec.sharedMemory"),
    "a cache beyond every disk": ({"cache": {"size": "8Ei"}}, "spec.cache.size"),
    "a request beyond every machine": ({"gate": {"maxBodySize": "8Ei"}}, "spec.gate.maxBodySize"),
    "a context beyond every number": (
        {"engine": {"contextLength": 10**400}},
        "spec.engine.contextLength",
    ),
    "a path that leads out": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "c", "path": "../x"}}}},
        "spec.model.source.persistentVolumeClaim.path",
    ),
    "a required field is missing": (
        {"model": {"source": {"image": {}}}},
        "spec.model.source.image.reference",
    ),
    "a range with host bits": (
        {"network": {"destinations": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}},
        "spec.network.destinations[0].ipBlock.cidr",
    ),
    "no peer": ({"network": {"callers": [{}]}}, "spec.network.callers[0]"),
    "a peer of two forms": (
        {"network": {"callers": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        "spec.network.callers[0]",
    ),
    "an item of a list": (
        {"pod": {"tolerations": [{"operator": "Exists"}, {"operator": "Perhaps"}]}},
        "spec.pod.tolerations[1].operator",
    ),
    "not an object": ({"images": 3}, "spec.images"),
    "neither of two types": ({"engine": {"contextLength": "long"}}, "spec.engine.contextLength"),
    "a key of a map": (
        {"pod": {"resources": {"requests": {"gpu": "1"}}}},
        "spec.pod.resources.requests.gpu",
    ),
    "the spec itself": ("text", "spec"),
}


def body(spec: Any, **metadata: Any) -> dict[str, Any]:
    """Return a resource as the API server sends it."""
    own = {"name": "mistral", "namespace": "team", "uid": "u-1", **metadata}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": own, "spec": spec}


def leaves(document: dict[str, Any], paths: set[str], path: str = "") -> dict[str, Any]:
    """Return the values of a document by path, no deeper than the known paths."""
    result: dict[str, Any] = {}
    for key, value in document.items():
        here = f"{path}{key}"
        if isinstance(value, dict) and here not in paths:
            result |= leaves(value, paths, f"{here}.")
        else:
            result[here] = value
    return result


def test_an_empty_spec_is_the_documented_endpoint() -> None:
    assert leaves(to_kubernetes(parse_spec({})), set(DEFAULTS)) == DEFAULTS


def test_a_missing_spec_is_an_empty_one() -> None:
    assert parse_spec(None) == parse_spec({}) == Spec()


@pytest.mark.parametrize("field", sorted(UNSET))
def test_unset_fields_stay_unset(field: str) -> None:
    assert attrgetter(field)(parse_spec({})) is None


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({}, "mistralai/Mistral-Small-3.2-24B-Instruct-2506"),
        ({"id": "a/b"}, "a/b"),
        ({"id": "a/b", "servedName": "small"}, "small"),
    ],
)
def test_clients_use_the_served_name_or_else_the_id(model: dict[str, Any], name: str) -> None:
    assert parse_spec({"model": model}).model.name == name


@pytest.mark.parametrize(
    "spec",
    [
        {"fieldOfANewerVersion": 1},
        {"engine": {"fieldOfANewerVersion": {"deep": []}}},
        {"pod": {"gpu": {"fieldOfANewerVersion": "x"}}},
    ],
    ids=str,
)
def test_fields_of_a_newer_crd_are_ignored(spec: dict[str, Any]) -> None:
    assert parse_spec(spec) == Spec()


@pytest.mark.parametrize(("spec", "field"), BAD.values(), ids=BAD)
def test_an_error_names_the_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidResource) as raised:
        parse_resource(body(spec))

    assert raised.value.field == field
    assert raised.value.message
    assert str(raised.value).startswith(field)
    assert str(raised.value).count(field) == 1
    assert isinstance(raised.value, OperatorError)


@pytest.mark.parametrize("spec", ["loops: {action: Off}", "loops: {action: No}"])
def test_a_word_that_yaml_reads_as_a_boolean_must_be_quoted(spec: str) -> None:
    with pytest.raises(InvalidResource, match="put the value in quotes") as raised:
        parse_spec(yaml.safe_load(spec))

    assert raised.value.field == "spec.loops.action"


def test_quantities_may_be_numbers() -> None:
    requests = parse_spec({"pod": {"resources": {"requests": {"cpu": 2}}}}).pod.resources.requests

    assert requests == {"cpu": "2"}


def test_a_parsed_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_spec({}).replicas = 2  # type: ignore[misc]


def test_specs_share_the_models_of_their_defaults() -> None:
    one, other = parse_spec({}), parse_spec({"replicas": 2})

    assert one.engine is other.engine
    assert copy.deepcopy(one.pod) is one.pod


def test_a_resource_has_the_identity_of_its_body() -> None:
    resource = parse_resource(body({}, generation=7))

    assert (resource.name, resource.namespace, resource.uid) == ("mistral", "team", "u-1")
    assert resource.generation == 7
    assert resource.owner_reference == {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": "mistral",
        "uid": "u-1",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_an_offloaded_kv_cache_on_cpus_breaks_one_rule() -> None:
    # The API server reports every rule that is broken, and only one of these says what to do.
    spec = parse_spec(
        {
            "device": "cpu",
            "engine": {"kvCache": {"memory": "4Gi"}},
            "pod": {"resources": {"requests": {"memory": "3Gi"}, "limits": {"memory": "4Gi"}}},
        }
    )
    engine = spec.engine.model_copy(update={"kv_offload": KVOffload(size="16Gi")})
    offloaded = spec.model_copy(update={"engine": engine})

    broken = [rule.message for rule in Spec.rules if not rule.permits(offloaded)]

    assert broken == [
        "spec.engine.kvOffload copies the KV cache of GPUs: remove it, or set spec.device to cuda"
    ]
