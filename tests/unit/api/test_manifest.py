"""What the API server would refuse, `render` and `fit` refuse too, in the same words."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from builders import resource_body
from mistral_operator.api import Spec, parse_spec
from mistral_operator.api.crd import resource_schema, structural
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.api.patterns import EXAMPLES
from mistral_operator.cli import main
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND
from refused_resources import (
    ACCEPTED,
    INVALID_METADATA,
    NAME_SENTENCE,
    NAMES,
    RULES,
    SCHEMA,
)

COMMANDS = [("render", "--server-image=x"), ("fit", "--gpu-memory=81559Mi")]


def document(spec: Any, name: str = "small") -> dict[str, Any]:
    """Return a resource as it stands in a file."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def run(command: tuple[str, ...], manifest: dict[str, Any]) -> Result:
    """Give a file to a command."""
    return CliRunner().invoke(main, [*command, "-f", "-"], input=yaml.safe_dump(manifest))


def messages(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the sentence of every rule in a schema."""
    yield from (one["message"] for one in schema.get("x-kubernetes-validations", ()))
    for inner in schema.get("properties", {}).values():
        yield from messages(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from messages(schema[key])


def refusal(spec: Any) -> str:
    """Return why a spec in a file is refused."""
    with pytest.raises(InvalidResource) as refused:
        parse_manifest(resource_body(spec))
    return str(refused.value)


@pytest.mark.parametrize(("spec", "sentence"), RULES.values(), ids=RULES)
def test_a_rule_of_the_crd_is_one_of_the_models_too(spec: dict[str, Any], sentence: str) -> None:
    (rule,) = {one for one in messages(resource_schema()) if sentence in one}

    assert rule in refusal(spec)


@pytest.mark.parametrize("message", sorted(set(messages(resource_schema()))))
def test_every_rule_of_the_crd_has_a_case_that_the_models_reject(message: str) -> None:
    sentences = [sentence for _, sentence in RULES.values()]
    # Where the message of this rule quotes the value, `SCHEMA` has it.
    sentences += [NAME_SENTENCE, "use the resource's own field where there is one"]

    assert any(one in message for one in sentences)


@pytest.mark.parametrize(("spec", "_", "sentence"), SCHEMA.values(), ids=SCHEMA)
def test_the_models_reject_what_the_schema_rejects(
    spec: dict[str, Any], _: str, sentence: str
) -> None:
    assert sentence in refusal(spec)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_invalid_for_a_service_is_rejected(
    command: tuple[str, ...], name: str
) -> None:
    result = run(command, document({}, name))

    assert result.exit_code == 1
    assert NAME_SENTENCE in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_print_the_message_of_the_rule(command: tuple[str, ...]) -> None:
    result = run(command, document({"engine": {"tensorParallelSize": 3}}))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Error: spec.engine.tensorParallelSize must divide the model's 32 attention heads and"
        " 8 KV heads: write 1, 2, 4 or 8\n"
    )


def test_an_argument_that_has_a_field_is_rejected_with_the_field() -> None:
    message = refusal({"engine": {"extraArgs": ["--seed=1", "--max_num_seqs=4"]}})

    assert message.endswith(
        " set spec.engine.maxSequences instead of --max-num-seqs. Refused: --max_num_seqs=4"
    )


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


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_what_templates_write_is_accepted_as_by_the_api_server(spec: dict[str, Any]) -> None:
    assert run(COMMANDS[0], document(spec)).exit_code == 0


@pytest.mark.parametrize("metadata", INVALID_METADATA.values(), ids=INVALID_METADATA)
def test_metadata_that_the_api_server_rejects_is_rejected(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidResource, match=r"^metadata\."):
        parse_manifest(resource_body({}, **metadata))


NULLS = {case: spec for case, spec in ACCEPTED.items() if "null" in case}


@pytest.mark.parametrize("spec", NULLS.values(), ids=NULLS)
def test_null_means_unset(spec: dict[str, Any]) -> None:
    assert parse_manifest(resource_body(spec)).spec == parse_spec(without_nulls(spec))


def without_nulls(value: Any) -> Any:
    """Return a document without its nulls."""
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(one) for key, one in value.items() if one is not None}


def test_null_in_a_list_is_rejected() -> None:
    assert refusal({"pod": {"imagePullSecrets": [None]}}).startswith("spec.pod.imagePullSecrets")


def test_a_required_field_that_is_null_is_missing() -> None:
    assert refusal({"autoscaling": {"maxReplicas": None}}).startswith(
        "spec.autoscaling.maxReplicas: "
    )


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
    "a field that many objects have": {"gate": {"apiKeys": {"name": "x"}}},
}


def test_an_empty_list_is_rejected_in_words_of_a_manifest() -> None:
    required: dict[str, Any] = {"nodeSelectorTerms": []}
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}

    assert refusal({"pod": {"affinity": {"nodeAffinity": node_affinity}}}).endswith(
        "nodeSelectorTerms: must have at least 1 item"
    )


@pytest.mark.parametrize("spec", NOTHING_NEAR.values(), ids=NOTHING_NEAR)
def test_nothing_is_suggested_where_nothing_is_near(spec: dict[str, Any]) -> None:
    assert refusal(spec).endswith(": unknown field")


def _volume(**source: Any) -> dict[str, Any]:
    return {"pod": {"volumes": [{"name": "a", **source}]}}


INSTEAD: dict[str, tuple[dict[str, Any], str]] = {
    "variables without names": (
        {"pod": {"envFrom": [{"configMapRef": {"name": "a"}}]}},
        "spec.pod.envFrom: unknown field: list each variable in spec.pod.env",
    ),
    "a sidecar": (
        {"pod": {"containers": []}},
        "spec.pod.containers: unknown field: there is no pod template",
    ),
    "a namespace of the node": (
        {"pod": {"hostNetwork": True}},
        "spec.pod.hostNetwork: unknown field: pods have no access to namespaces of the node",
    ),
    "a policy of the resolver": (
        {"pod": {"dnsPolicy": "None"}},
        "spec.pod.dnsPolicy: unknown field: the policy is ClusterFirst",
    ),
    "a volume of the node": (
        _volume(hostPath={"path": "/m"}),
        "spec.pod.volumes[0].hostPath: unknown field: volumes of the node are refused: use persist",
    ),
    "a share": (
        _volume(nfs={"server": "a", "path": "/m"}),
        "spec.pod.volumes[0].nfs: unknown field: volumes are persistentVolumeClaim, config",
    ),
    "a volume of a driver": (
        _volume(csi={"driver": "csi.cert-manager.io"}),
        "spec.pod.volumes[0].csi: unknown field: inline volumes of a CSI driver are refused",
    ),
    "a mode": (
        _volume(configMap={"name": "ca", "defaultMode": 292}),
        "spec.pod.volumes[0].configMap.defaultMode: unknown field: files have the mode 0644",
    ),
    "what is always set": (
        {"pod": {"securityContext": {"runAsNonRoot": True}}},
        "spec.pod.securityContext.runAsNonRoot: unknown field: the operator sets it",
    ),
    "an empty directory without size": (
        _volume(emptyDir={}),
        "spec.pod.volumes[0].emptyDir.sizeLimit: set sizeLimit, such as 1Gi",
    ),
    "a whole Secret": (
        _volume(secret={"secretName": "tls"}),
        "spec.pod.volumes[0].secret.items: list the keys to mount, such as",
    ),
    "root": (
        {"pod": {"securityContext": {"runAsUser": 0}}},
        "spec.pod.securityContext.runAsUser: the user 0 is refused: write the number of another",
    ),
    "expressions of a selector": (
        {"network": {"callers": [{"podSelector": {"matchExpressions": []}}]}},
        "spec.network.callers[0].podSelector.matchExpressions: unknown field: selectors have only",
    ),
    "ports of a destination": (
        {"network": {"destinations": [{"podSelector": {}, "ports": [{"port": 3128}]}]}},
        "spec.network.destinations[0].ports: unknown field: every port of a destination is open",
    ),
    "the name of a Secret": (
        _volume(secret={"name": "tls"}),
        "spec.pod.volumes[0].secret.name: unknown field: write secretName",
    ),
    "a part of a volume": (
        {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/a", "subPath": "b"}]}},
        "spec.pod.volumeMounts[0].subPath: unknown field: mount the whole volume",
    ),
    "the pods to spread": (
        {"pod": {"topologySpread": [{"topologyKey": "zone", "labelSelector": {}}]}},
        "spec.pod.topologySpread[0].labelSelector: unknown field: it always counts the pods of",
    ),
    "a policy for claims": (
        {"cache": {"reclaimPolicy": "Retain"}},
        "spec.cache.reclaimPolicy: unknown field: set spec.cache.whenDeleted: Retain",
    ),
    "bounds of other autoscalers": (
        {"autoscaling": {"min": 1}},
        "spec.autoscaling.min: unknown field: write minReplicas",
    ),
    "no class": (
        {"cache": {"storageClassName": ""}},
        "spec.cache.storageClassName: write the name of a class; for a PersistentVolume without",
    ),
    "the group of root": (
        {"pod": {"securityContext": {"fsGroup": 0}}},
        "spec.pod.securityContext.fsGroup: the group 0 is refused: write the number of another",
    ),
}


@pytest.mark.parametrize(("spec", "message"), INSTEAD.values(), ids=INSTEAD)
def test_what_a_pod_has_elsewhere_is_refused_with_what_to_write(
    spec: dict[str, Any], message: str
) -> None:
    assert refusal(spec).startswith(message)


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


def test_fields_that_the_api_server_adds_are_accepted() -> None:
    exported = {**resource_body({}, managedFields=[], labels={}), "status": {"replicas": 1}}

    assert parse_manifest(exported).spec == Spec()


def test_label_keys_are_not_checked_as_fields() -> None:
    manifest = resource_body({"pod": {"nodeSelector": {"zone": "a"}}})

    assert parse_manifest(manifest).spec.pod.node_selector == {"zone": "a"}


@pytest.mark.parametrize(
    "spec",
    [{"engine": {"contextLenght": 1}}, {"replica": 2}, {"suspend": False, "x": {}}],
    ids=str,
)
def test_the_operator_itself_ignores_unknown_fields(spec: dict[str, Any]) -> None:
    assert parse_spec(spec) == Spec()


@pytest.mark.parametrize("quantity", [2, "2", "2000m"])
def test_a_quantity_in_a_file_may_be_a_number(quantity: object) -> None:
    manifest = resource_body({"pod": {"resources": {"requests": {"cpu": quantity}}}})

    assert parse_manifest(manifest).spec.pod.resources.requests == {"cpu": str(quantity)}
