"""`kubectl msd restart`, `suspend` and `resume` edit what the documents say."""

import pytest

from builders import NAME, NAMESPACE, NOW, Object, merged, resource_body
from fake_api_server import FakeApiServer, Write
from fake_objects import ApiError
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.actions import restart, set_suspended
from mistral_operator.plugin.read_endpoint import EndpointMissing
from mistral_operator.plugin.reader import Reader
from plugin_cluster import deployment, serving

KEY = Key(NAMESPACE, NAME)


def server_with(spec: Object, *labels: dict[str, str]) -> FakeApiServer:
    """Return an API server with an endpoint and, with labels, a Deployment of its name."""
    body = {**resource_body(spec), "status": {"readyReplicas": 1}}
    server = serving({"resource": (kinds.RESOURCE, body)})
    for one in labels:
        template = {"template": {"metadata": {"annotations": {"a": "b"}}}}
        made = merged(deployment(NAME, NAMESPACE, **one), {"spec": template})
        server.objects.create(kinds.DEPLOYMENT, made)
    return server


async def suspended(server: FakeApiServer, *, value: bool) -> str:
    """Suspend or resume the endpoint; return what was said."""
    async with server.cluster() as cluster:
        return await set_suspended(Reader(cluster), KEY, suspended=value)


async def test_suspending_sets_the_field() -> None:
    server = server_with({})

    message = await suspended(server, value=True)

    assert server.objects.get(kinds.RESOURCE, KEY)["spec"]["suspend"] is True
    assert message.startswith("small: spec.suspend is true")


async def test_resuming_sets_the_field() -> None:
    server = server_with({"suspend": True})

    message = await suspended(server, value=False)

    assert server.objects.get(kinds.RESOURCE, KEY)["spec"]["suspend"] is False
    assert message == "small: spec.suspend is false; the replicas start again"


async def test_what_is_so_already_is_not_written() -> None:
    server = server_with({})

    assert await suspended(server, value=False) == "small: spec.suspend is already false"
    assert server.writes == []


async def test_a_restart_changes_the_template_as_kubectl_does() -> None:
    server = server_with({}, names.labels(NAME))

    async with server.cluster() as cluster:
        message = await restart(Reader(cluster), KEY, NOW)

    template = server.objects.get(kinds.DEPLOYMENT, KEY)["spec"]["template"]
    assert template["metadata"]["annotations"] == {
        "a": "b",
        "kubectl.kubernetes.io/restartedAt": NOW,
    }
    assert "nothing is served until the new one is ready" in message


@pytest.mark.parametrize("labels", [(), ({},)], ids=["no Deployment", "a foreign Deployment"])
async def test_a_deployment_of_another_owner_is_not_restarted(
    labels: tuple[dict[str, str], ...],
) -> None:
    server = server_with({}, *labels)

    async with server.cluster() as cluster:
        with pytest.raises(EndpointMissing, match="has no Deployment yet"):
            await restart(Reader(cluster), KEY, NOW)

    assert server.writes == []


async def test_what_has_no_replica_is_not_restarted() -> None:
    server = server_with({}, names.labels(NAME))
    server.objects.update(kinds.DEPLOYMENT, KEY, lambda one: merged(one, {"spec": {"replicas": 0}}))

    async with server.cluster() as cluster:
        message = await restart(Reader(cluster), KEY, NOW)

    assert message == "small: nothing to restart: its Deployment has 0 replicas"
    assert server.writes == []


async def test_what_a_policy_rejects_is_said_as_the_policy_says_it() -> None:
    server = server_with({}, names.labels(NAME))
    reason = "ValidatingAdmissionPolicy 'night' denied the request: no restarts before 6:00"

    async def reject(_: Write) -> None:
        raise ApiError(403, "Forbidden", reason)

    server.before_write = reject
    async with server.cluster() as cluster:
        with pytest.raises(ClusterError) as raised:
            await restart(Reader(cluster), KEY, NOW)

    assert raised.value.reason == reason
