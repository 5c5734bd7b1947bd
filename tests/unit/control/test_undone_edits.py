"""An edit of a child that is undone leaves an Event, and a repeated one leaves few."""

from collections.abc import Callable
from typing import Any

import pytest

from builders import Object, merged
from fake_api_server import Write
from fake_objects import ApiError
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind
from operator_life import KEY, Life, play

UNDONE = "EditUndone"

Edit = Callable[[Object], Object]


def of_pod(changes: Object) -> Edit:
    """Return an edit of the pod template."""
    return lambda live: merged(live, {"spec": {"template": {"spec": changes}}})


def of_server(changes: Object) -> Edit:
    """Return an edit of the server's container."""

    def edit(live: Object) -> Object:
        (server,) = live["spec"]["template"]["spec"]["containers"]
        return of_pod({"containers": [merged(server, changes)]})(live)

    return edit


EDITS: dict[str, tuple[Kind, Edit, str]] = {
    "an image": (
        *(kinds.DEPLOYMENT, of_server({"image": "mine:1"})),
        "[0].image was changed and is set back; edit MistralSmallDeployment small instead",
    ),
    "replicas": (
        *(kinds.DEPLOYMENT, lambda live: merged(live, {"spec": {"replicas": 3}})),
        "set back; scale the resource instead: kubectl scale msd/small",
    ),
    "a Service": (
        *(kinds.SERVICE, lambda live: merged(live, {"spec": {"type": "NodePort"}})),
        "Service small: spec.type was changed and is set back",
    ),
    "the node's network": (
        *(kinds.DEPLOYMENT, of_pod({"hostNetwork": True})),
        "Deployment small: spec.template.spec.hostNetwork was changed and is set back",
    ),
    "the node's processes": (
        *(kinds.DEPLOYMENT, of_pod({"hostPID": True})),
        "spec.template.spec.hostPID was changed",
    ),
    "the node's shared memory": (
        *(kinds.DEPLOYMENT, of_pod({"hostIPC": True})),
        "spec.template.spec.hostIPC was changed",
    ),
    "a privileged container": (
        *(kinds.DEPLOYMENT, of_server({"securityContext": {"privileged": True}})),
        "spec.template.spec.containers[0].securityContext.privileged was changed",
    ),
    "root": (
        *(kinds.DEPLOYMENT, of_server({"securityContext": {"runAsUser": 0}})),
        "spec.template.spec.containers[0].securityContext.runAsUser was changed",
    ),
}


def notes(life: Life) -> list[str]:
    """Return what the Events say."""
    return [one["message"] for one in life.objects.all(kinds.EVENT) if one["reason"] == UNDONE]


@pytest.mark.parametrize(("kind", "edit", "note"), EDITS.values(), ids=EDITS)
def test_an_edit_is_undone_with_one_event(kind: Kind, edit: Edit, note: str) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        before = life.objects.get(kind, KEY)["spec"]
        assert notes(life) == []

        life.objects.update(kind, KEY, edit)
        await life.settle()

        assert life.objects.get(kind, KEY)["spec"] == before
        (got,) = notes(life)
        assert note in got

    play(scenario)


STAYING: dict[str, Edit] = {
    "an annotation": of_pod({}),
    "kubectl rollout restart": lambda live: merged(
        live,
        {
            "spec": {
                "template": {
                    "metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}
                }
            }
        },
    ),
    "a field that is not ours": of_pod({"priority": 5}),
}


@pytest.mark.parametrize("edit", STAYING.values(), ids=STAYING)
def test_an_edit_beside_the_operators_fields_stays(edit: Edit) -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        life.objects.update(kinds.DEPLOYMENT, KEY, edit)
        after = life.deployment()["spec"]
        await life.settle()

        assert life.deployment()["spec"] == after
        assert notes(life) == []

    play(scenario)


def test_an_edit_is_undone_although_its_event_is_rejected() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        before = life.deployment()["spec"]

        async def reject(write: Write) -> None:
            if write.verb == "post":
                raise ApiError(403, "Forbidden", "no Events here")

        life.api.before_write = reject
        life.objects.update(kinds.DEPLOYMENT, KEY, of_server({"image": "mine:1"}))
        await life.settle()

        assert life.deployment()["spec"] == before
        assert notes(life) == []

    play(scenario)


def test_an_edit_that_comes_back_has_few_events() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        for number in range(8):
            life.objects.update(kinds.DEPLOYMENT, KEY, of_server({"image": f"mine:{number}"}))
            await life.settle()

        (event,) = [one for one in life.objects.all(kinds.EVENT) if one["reason"] == UNDONE]
        assert event["count"] == 3

    play(scenario)


def test_an_edit_of_the_resource_is_none_of_a_child() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create()
        await life.settle()
        changes: dict[str, Any] = {"engine": {"temperature": 0.2}}
        life.edit(changes)
        await life.settle()

        assert notes(life) == []

    play(scenario)
