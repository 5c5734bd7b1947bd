"""What a resource refers to and a pod cannot report missing."""

import pytest

from api_server import ApiServer, live_object
from builders import deployment_body, resource
from mistral_operator.api import Reason
from mistral_operator.control.references import missing_references
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.transport import Object
from mistral_operator.watch.facts import Observed, deployment_facts

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
        pytest.param(FILES, live_object(), id="a claim with files"),
        pytest.param(BUNDLE, live_object(), id="a bundle of CAs"),
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
