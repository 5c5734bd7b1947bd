"""What a resource refers to and a pod cannot report missing."""

import pytest

from api_server import ApiServer, live_object
from builders import deployment_body, resource
from mistral_operator.api import Reason
from mistral_operator.control.references import missing_references
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.transport import Object
from mistral_operator.watch.deployments import deployment_facts
from mistral_operator.watch.facts import Observed

CLAIM: Object = {"model": {"source": {"persistentVolumeClaim": {"claimName": "weights"}}}}
PROMPT: Object = {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "ours"}}}
PROMPTS: Object = {**live_object(), "data": {"SYSTEM_PROMPT.txt": "You are"}}
FILES: Object = {
    "pod": {"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "files"}}]}
}
BUNDLE: Object = {"pod": {"volumes": [{"name": "a", "configMap": {"name": "bundle"}}]}}
PROJECTED: Object = {
    "pod": {
        "volumes": [{"name": "a", "projected": {"sources": [{"configMap": {"name": "bundle"}}]}}]
    }
}
BUNDLE_OF_A_KEY: Object = {
    "pod": {
        "volumes": [
            {
                "name": "a",
                "configMap": {"name": "bundle", "items": [{"key": "ca.crt", "path": "ca.crt"}]},
            }
        ]
    }
}
GONE: Object = {"kind": "Status", "message": "not found"}
NOTHING = Observed()

MISSING: dict[str, tuple[Object, int, Object, Reason, str]] = {
    "a claim": (CLAIM, 404, GONE, Reason.CLAIM_MISSING, "PersistentVolumeClaim weights does not"),
    "a ConfigMap": (PROMPT, 404, GONE, Reason.CONFIG_MAP_MISSING, "ConfigMap ours does not exist"),
    "a claim with files": (FILES, 404, GONE, Reason.CLAIM_MISSING, "Claim files does not exist"),
    "a bundle of CAs": (BUNDLE, 404, GONE, Reason.CONFIG_MAP_MISSING, "ConfigMap bundle does not"),
    "one of two sources": (
        *(PROJECTED, 404, GONE, Reason.CONFIG_MAP_MISSING),
        "ConfigMap bundle does not exist",
    ),
    "a key of a bundle of CAs": (
        BUNDLE_OF_A_KEY,
        200,
        {**live_object(), "data": {"ca.pem": "text"}},
        Reason.CONFIG_MAP_MISSING,
        "ConfigMap bundle has no key ca.crt",
    ),
    "its key": (
        PROMPT,
        200,
        {**live_object(), "data": {"other": "text"}},
        Reason.CONFIG_MAP_MISSING,
        "ConfigMap ours has no key",
    ),
    "everything in it": (PROMPT, 200, live_object(), Reason.CONFIG_MAP_MISSING, "has no key"),
}


@pytest.mark.parametrize(
    ("spec", "status", "answer", "reason", "fragment"), MISSING.values(), ids=MISSING
)
async def test_what_is_missing_is_named_with_what_to_do(
    cluster: Cluster,
    api: ApiServer,
    spec: Object,
    status: int,
    answer: Object,
    reason: Reason,
    fragment: str,
) -> None:
    api.status, api.answer = status, answer

    (problem,) = await missing_references(cluster, resource(spec), NOTHING)

    assert problem.reason is reason
    assert fragment in problem.message
    assert "correct " in problem.message
    assert " spec." in problem.message


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        pytest.param(CLAIM, live_object(), id="a claim"),
        pytest.param(PROMPT, PROMPTS, id="a ConfigMap"),
        pytest.param(
            PROMPT,
            {**live_object(), "binaryData": dict.fromkeys(PROMPTS["data"], "/w==")},
            id="a ConfigMap of bytes",
        ),
        pytest.param(FILES, live_object(), id="a claim with files"),
        pytest.param(BUNDLE, live_object(), id="a bundle of CAs"),
        pytest.param(
            BUNDLE_OF_A_KEY, {**live_object(), "data": {"ca.crt": "text"}}, id="a key of a bundle"
        ),
        pytest.param(
            BUNDLE_OF_A_KEY, {**live_object(), "binaryData": {"ca.crt": "dA=="}}, id="a binary key"
        ),
    ],
)
async def test_what_is_there_is_no_problem(
    cluster: Cluster, api: ApiServer, spec: Object, answer: Object
) -> None:
    api.answer = answer

    assert await missing_references(cluster, resource(spec), NOTHING) == []
    assert len(api.requests) == 1


async def test_a_resource_that_refers_to_nothing_costs_no_request(
    cluster: Cluster, api: ApiServer
) -> None:
    assert await missing_references(cluster, resource(), NOTHING) == []
    assert api.requests == []


async def test_nothing_is_read_while_the_endpoint_is_ready(
    cluster: Cluster, api: ApiServer
) -> None:
    api.status = 404
    ready = Observed(deployment=deployment_facts(deployment_body(ready=1)))

    assert await missing_references(cluster, resource(CLAIM), ready) == []
    assert api.requests == []


def unbound(phase: str = "Pending", **spec: str) -> Object:
    """Return a claim without a volume."""
    return {**live_object(name="weights", uid="its-uid"), "spec": spec, "status": {"phase": phase}}


def listed(*items: Object) -> tuple[int, Object]:
    """Return the answer to a list."""
    return 200, {"metadata": {"resourceVersion": "1"}, "items": list(items)}


FAILED: Object = {
    **live_object(name="failed"),
    "reason": "FailedBinding",
    "message": "no persistent volumes available for this claim",
    "lastTimestamp": "2026-03-01T12:00:00Z",
}

CANNOT_BIND: dict[str, tuple[Object, list[tuple[int, Object]], list[str]]] = {
    "its class does not exist": (
        unbound(storageClassName="gone"),
        [(404, GONE), listed()],
        ["StorageClass gone does not exist: create it, or replace the claim by one of another"],
    ),
    "there is no default class": (
        unbound(),
        [listed(), listed(FAILED)],
        ["no StorageClass is the default", "FailedBinding: no persistent volumes available"],
    ),
    "no volume has been created for it": (
        unbound(storageClassName=""),
        [listed(FAILED)],
        ["is not bound: Kubernetes reports: FailedBinding: no persistent volumes available"],
    ),
    "its volume is lost": (
        unbound("Lost", storageClassName=""),
        [listed({**FAILED, "type": "Warning", "reason": "ClaimLost"})],
        ["its volume no longer exists: replace the claim", "Kubernetes reports: ClaimLost"],
    ),
}


@pytest.mark.parametrize("spec", [CLAIM, FILES], ids=["of the model", "of a volume"])
@pytest.mark.parametrize(("claim", "answers", "parts"), CANNOT_BIND.values(), ids=CANNOT_BIND)
async def test_a_claim_that_cannot_be_bound_is_named_with_the_cause(
    cluster: Cluster,
    api: ApiServer,
    spec: Object,
    claim: Object,
    answers: list[tuple[int, Object]],
    parts: list[str],
) -> None:
    api.script = [(200, claim), *answers]

    (problem,) = await missing_references(cluster, resource(spec), NOTHING)

    assert problem.reason is Reason.CLAIM_PENDING
    for part in ("PersistentVolumeClaim weights is not bound", "spec.", *parts):
        assert part in problem.message


async def test_a_claim_that_waits_for_its_pod_is_no_problem(
    cluster: Cluster, api: ApiServer
) -> None:
    waits = {**FAILED, "reason": "WaitForFirstConsumer"}
    api.script = [(200, unbound(storageClassName="")), listed(waits)]

    assert await missing_references(cluster, resource(CLAIM), NOTHING) == []


async def test_nothing_is_missing_as_long_as_the_api_server_cannot_say(
    cluster: Cluster, api: ApiServer
) -> None:
    api.status, api.answer = 503, {"kind": "Status", "message": "later"}

    with pytest.raises(Unavailable, match="503 later"):
        await missing_references(cluster, resource(CLAIM), NOTHING)
