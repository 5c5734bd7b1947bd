"""What a resource says when it cannot be served: the cause, and what to do."""

import json
from datetime import UTC, datetime

from cluster_namespace import Namespace, Object, resource
from mistral_dev.errors import CommandFailedError
from mistral_operator.kube.kinds import SELECTOR

FOREIGN_SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "small"},
    "spec": {"selector": {"app": "somebody"}, "ports": [{"name": "http", "port": 80}]},
}

PAUSE: Object = {"containers": [{"name": "pause", "image": "pause"}]}


def refusing_pods(namespace: str, message: str) -> tuple[Object, Object]:
    """Return a policy that refuses every pod of a namespace, and its binding."""
    api_version, name = "admissionregistration.k8s.io/v1", {"metadata": {"name": f"no-{namespace}"}}
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [pods]},
        "validations": [{"expression": "false", "message": message}],
    }
    binding = {"policyName": f"no-{namespace}", "validationActions": ["Deny"]}
    return (
        {"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", **name, "spec": policy},
        {
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicyBinding",
            **name,
            "spec": binding,
        },
    )


def dry_run(namespace: Namespace, body: Object) -> str:
    """Return why an object would be refused, empty if it would not."""
    try:
        namespace.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(body))
    except CommandFailedError as error:
        return error.output
    return ""


def test_a_foreign_object_of_a_childs_name_is_left_as_it_is(served: Namespace) -> None:
    served.apply(FOREIGN_SERVICE)
    before = served.wait_for("service", "small")

    served.apply(resource("small"))

    message = served.wait_for_reason("small", "NameTaken")["message"]
    assert "Service small exists and does not belong to this resource" in message
    assert "Rename the resource" in message
    assert served.get("service", "small") == before
    assert served.condition("small", "Degraded")["status"] == "True"


def test_a_foreign_service_account_is_not_merged_into(served: Namespace) -> None:
    served.kubectl("create", "serviceaccount", "small")
    before = served.wait_for("serviceaccount", "small")

    served.apply(resource("small"))

    assert "ServiceAccount small" in served.wait_for_reason("small", "NameTaken")["message"]
    assert served.get("serviceaccount", "small") == before


def test_a_foreign_object_with_our_labels_is_left_as_it_is_too(served: Namespace) -> None:
    key, value = SELECTOR.split("=")
    labels = {key: value, "inference.mistral-small.io/deployment": "small"}
    served.apply({**FOREIGN_SERVICE, "metadata": {"name": "small", "labels": labels}})
    before = served.wait_for("service", "small")

    served.apply(resource("small"))

    served.wait_for_reason("small", "NameTaken")
    assert served.get("service", "small") == before


def test_the_endpoint_heals_once_the_foreign_object_is_gone(served: Namespace) -> None:
    served.apply(FOREIGN_SERVICE, resource("small"))
    served.wait_for_reason("small", "NameTaken")

    served.kubectl("delete", "service", "small")

    served.wait_for_reason("small", "Ready")


def test_a_missing_config_map_is_named_and_its_arrival_noticed(served: Namespace) -> None:
    prompt = {"source": "ConfigMap", "configMap": {"name": "prompt", "key": "text"}}
    # No fake node has that label, so the endpoint is not ready by itself.
    spec = {"systemPrompt": prompt, "pod": {"nodeSelector": {"no": "such-node"}}}
    served.apply(resource("small", spec))

    message = served.wait_for_reason("small", "ConfigMapMissing")["message"]
    assert (
        message
        == "ConfigMap prompt does not exist: create it, or correct spec.systemPrompt.configMap"
    )

    served.kubectl("create", "configmap", "prompt", "--from-literal=other=x")
    served.until(
        lambda: "has no key text" in served.condition("small")["message"], "the missing key"
    )

    served.kubectl("create", "configmap", "prompt2", "--from-literal=text=x")
    fixed = {"source": "ConfigMap", "configMap": {"name": "prompt2", "key": "text"}}
    served.apply(resource("small", {**spec, "systemPrompt": fixed}))
    served.wait_for_reason("small", "NoFittingNode", seconds=60)


def test_a_missing_claim_is_named(served: Namespace) -> None:
    source = {"persistentVolumeClaim": {"claimName": "weights"}}
    served.apply(resource("small", {"model": {"source": source}}))

    message = served.wait_for_reason("small", "ClaimMissing")["message"]

    assert "PersistentVolumeClaim weights does not exist" in message


def test_more_gpus_than_any_node_has_is_said_with_the_number_there_is(served: Namespace) -> None:
    spec = {"engine": {"tensorParallelSize": 2}, "pod": {"gpu": {"resourceName": "amd.com/gpu"}}}
    served.apply(resource("small", spec))

    message = served.wait_for_reason("small", "NoFittingNode", seconds=60)["message"]

    assert "needs 2 amd.com/gpu on one node, but the largest node offers 0" in message
    assert "spec.engine.tensorParallelSize" in message


def test_a_node_that_an_autoscaler_adds_is_waited_for(served: Namespace) -> None:
    served.apply(resource("small", {"pod": {"gpu": {"resourceName": "amd.com/gpu"}}}))
    served.until(lambda: "for a node" in served.condition("small").get("message", ""), "a pod")
    (pod,) = served.all_of("pods")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "scale-up"},
        "involvedObject": {"kind": "Pod", "namespace": served.name, **_named(pod)},
        "reason": "TriggeredScaleUp",
        "message": "pod triggered scale-up: [{gpu 0->1 (max: 4)}]",
        "type": "Normal",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    served.apply(event)

    served.until(
        lambda: "TriggeredScaleUp: pod triggered" in served.condition("small")["message"],
        "the Event of the autoscaler",
        seconds=60,
    )
    assert served.condition("small")["reason"] == "Creating"
    assert served.condition("small", "Degraded")["status"] == "False"


def _named(pod: Object) -> Object:
    return {key: pod["metadata"][key] for key in ("name", "uid")}


def test_a_model_that_does_not_fit_says_what_would(served: Namespace) -> None:
    served.apply(resource("small", {"pod": {"gpu": {"memory": "24Gi"}}}))

    condition = served.wait_for_reason("small", "DoesNotFit", "ModelFits")

    assert condition["status"] == "False"
    assert "spec.engine.tensorParallelSize to 4" in condition["message"]
    assert "spec.model.quantization to fp8" in condition["message"]


def test_the_memory_of_the_gpus_is_read_from_the_nodes_label(served: Namespace) -> None:
    served.apply(resource("small"))
    served.wait_for_reason("small", "GpuMemoryUnknown", "ModelFits")

    served.cluster.kubectl("label", "node", "fake-0", "nvidia.com/gpu.memory=81559")
    try:
        message = served.wait_for_reason("small", "Fits", "ModelFits")["message"]
    finally:
        served.cluster.kubectl("label", "node", "fake-0", "nvidia.com/gpu.memory-")

    assert "the KV cache of a replica holds 605296 tokens" in message


def test_what_an_admission_policy_says_is_reported_with_every_character(served: Namespace) -> None:
    policy, binding = refusing_pods(served.name, "🚫 not signed: é 漢字")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": PAUSE}
    try:
        served.apply(policy, binding)
        served.until(lambda: "not signed" in dry_run(served, pod), "the policy")

        served.apply(resource("small"))

        assert "🚫 not signed: é 漢字" in served.wait_for_reason("small", "PodRejected")["message"]
    finally:
        served.kubectl("delete", "--ignore-not-found", "-f", "-", text=json.dumps(binding))
        served.kubectl("delete", "--ignore-not-found", "-f", "-", text=json.dumps(policy))


def test_one_bad_resource_does_not_hold_up_the_others(served: Namespace) -> None:
    served.apply(FOREIGN_SERVICE, resource("small"), resource("other"))

    served.wait_for_reason("other", "Ready")
    served.wait_for_reason("small", "NameTaken")


def test_transitions_are_told_as_events(served: Namespace) -> None:
    served.apply(resource("small"))
    served.wait_for_reason("small", "Ready")

    selector = "--field-selector=involvedObject.kind=MistralSmallDeployment"
    reasons = ("get", "events", selector, "-o=jsonpath={.items[*].reason}")
    served.until(lambda: "Ready" in served.kubectl(*reasons).split(), "the event")
    assert "Ready=True" in served.kubectl("describe", "msd", "small")


def test_what_happens_again_is_counted_on_its_event(served: Namespace) -> None:
    for _ in range(2):
        served.apply(resource("small", {"suspend": True}))
        served.wait_for_reason("small", "Suspended")
        served.apply(resource("small", {"suspend": False}))
        served.wait_for_reason("small", "Ready")

    (event,) = [one for one in served.all_of("event") if one["reason"] == "Suspended"]
    assert event["count"] == 2
    assert event["firstTimestamp"] <= event["lastTimestamp"]
    assert "(x2 over " in served.kubectl("describe", "msd", "small")


def test_a_suspended_endpoint_says_so_and_comes_back(served: Namespace) -> None:
    served.apply(resource("small", {"suspend": True}))
    assert "set it to false" in served.wait_for_reason("small", "Suspended")["message"]

    served.apply(resource("small", {"suspend": False}))

    served.wait_for_reason("small", "Ready")
