"""When the activators take the place of the last replica, as one table of the decision."""

from dataclasses import replace

import pytest

from builders import CONTEXT, NAME, NAMESPACE, Object, live, ready_pod, resource
from mistral_operator.api import Reason, Resource
from mistral_operator.control.hold import (
    AGAIN_SECONDS,
    BLIND_SECONDS,
    PORT_SECONDS,
    SLOW_SECONDS,
    TAKEOVER_SECONDS,
    UNCHANGED_SECONDS,
    HoldInputs,
    decide_hold,
)
from mistral_operator.render import children
from mistral_operator.scale_to_zero import Activators
from mistral_operator.status.hold import Hold, HoldPhase
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.facts import pod_facts

NONE, BEFORE, WITHOUT, AFTER = HoldPhase
EDIT: Object = {"startupSeconds": 900}
SLEEPER: Object = {"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}
READY = Activators(("10.0.0.8",))
SEEN = Activators(("10.0.0.8",), targets={(NAMESPACE, NAME): 1})
NONE_LISTENS = (
    "no activator listens on the port of this endpoint; the logs of operator and activators say why"
    " ConfigMap mistral-small-operator-activator cannot be written or read"
)
POD = pod_facts(ready_pod())
ENDING = pod_facts(ready_pod(deletionTimestamp="2026-03-01T12:00:00Z"))


def applied(spec: Object | None = None, **status: int) -> DeploymentFacts:
    """Return the Deployment of a spec whose controller has dealt with it."""
    rendered = next(one for one in children(resource(spec), CONTEXT) if one["kind"] == "Deployment")
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, **status}
    return deployment_facts({**live(rendered), "status": {"observedGeneration": 1, **counts}})


INPUTS = HoldInputs(
    CONTEXT,
    enabled=True,
    ready=True,
    was_ready=True,
    deployment=applied(),
    pods=(POD,),
    activators=SEEN,
)
PLACED = replace(INPUTS, port=20_000, published=True, listening=True)
FULL = replace(INPUTS, refusal="all are in use", queued=True, phase=BEFORE, was_refused=True)
LOST = replace(INPUTS, pods=(), activators=READY)
LOST_PLACED = replace(PLACED, pods=(), activators=READY)

CASES: dict[str, tuple[Object, HoldInputs, Hold]] = {
    "a replica serves": ({}, INPUTS, Hold()),
    # --- Before the last replica is replaced
    "an edit, and no port yet": (
        EDIT,
        INPUTS,
        Hold(BEFORE, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "an edit, and the activators listen": (
        EDIT,
        PLACED,
        Hold(BEFORE, serves=True, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "an edit, and they are behind the Service": (
        EDIT,
        replace(PLACED, serve=True),
        Hold(BEFORE, serves=True, again=UNCHANGED_SECONDS + 0.1),
    ),
    "an edit that the API server rejects": (
        EDIT,
        replace(PLACED, serve=True, phase=BEFORE, waited=UNCHANGED_SECONDS - 10),
        Hold(BEFORE, serves=True, again=10.1),
    ),
    "an edit that the API server rejects for long": (
        EDIT,
        replace(PLACED, serve=True, phase=BEFORE, waited=UNCHANGED_SECONDS),
        Hold(BEFORE),
    ),
    "an edit that the API server still rejects": (
        EDIT,
        replace(PLACED, phase=BEFORE, waited=UNCHANGED_SECONDS + 100),
        Hold(BEFORE),
    ),
    "an edit, and they do not take over in time": (
        EDIT,
        replace(INPUTS, phase=BEFORE, waited=TAKEOVER_SECONDS),
        Hold(BEFORE),
    ),
    "an edit right after another hold": (
        EDIT,
        replace(INPUTS, phase=AFTER, waited=TAKEOVER_SECONDS),
        Hold(BEFORE, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "an edit without an activator": (
        EDIT,
        replace(INPUTS, activators=Activators(), ready=False),
        Hold(
            BEFORE,
            refusal=Reason.ACTIVATOR_MISSING,
            why="no activator is ready to queue them, so check the Deployment of the activator",
        ),
    ),
    "an edit that waits for a port": (
        EDIT,
        replace(FULL, waited=100.0),
        Hold(
            BEFORE,
            keeps_template=True,
            refusal=Reason.NO_PORT,
            why="all are in use. Raise activator.portsPerNamespace of the chart",
            again=PORT_SECONDS - 100.0 + 0.1,
        ),
    ),
    "an edit that has waited long for a port": (
        EDIT,
        replace(FULL, waited=PORT_SECONDS),
        Hold(
            BEFORE,
            refusal=Reason.NO_PORT,
            why="all are in use. Raise activator.portsPerNamespace of the chart",
        ),
    ),
    "an edit that waited for a port and has one now": (
        EDIT,
        replace(PLACED, listening=False, phase=BEFORE, was_refused=True, waited=100.0),
        Hold(BEFORE, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "the end of a surge that found no GPUs": (
        {},
        replace(PLACED, deployment=applied({"rollout": {"maxSurge": 1}}, updatedReplicas=0)),
        Hold(BEFORE, serves=True, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "an edit of what never gets a port": (
        EDIT,
        replace(INPUTS, refusal="its paths are too long"),
        Hold(BEFORE, refusal=Reason.NO_PORT, why="its paths are too long"),
    ),
    "an edit of what can scale to zero": (
        {**SLEEPER, **EDIT},
        replace(PLACED, deployment=applied(SLEEPER)),
        Hold(BEFORE, serves=True, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    "a pause that ends": (
        EDIT,
        replace(
            PLACED, deployment=applied({**EDIT, "rollout": {"paused": True}}, updatedReplicas=0)
        ),
        Hold(BEFORE, serves=True, keeps_template=True, again=TAKEOVER_SECONDS + 0.1),
    ),
    # --- No need for them
    "an edit that restarts no pod": ({"rollout": {"maxWaitSeconds": 10}}, PLACED, Hold()),
    "another strategy": (
        {"rollout": {"maxSurge": 1}},
        PLACED,
        Hold(),
    ),
    "an edit with a surge": ({**EDIT, "rollout": {"maxSurge": 1}}, PLACED, Hold()),
    "an edit that waits": ({**EDIT, "rollout": {"paused": True}}, PLACED, Hold()),
    "an edit of two replicas": ({**EDIT, "replicas": 2}, PLACED, Hold()),
    "an edit where the user wants none": ({**EDIT, "rollout": {"hold": "Never"}}, PLACED, Hold()),
    "an edit where no activator is installed": (EDIT, replace(PLACED, enabled=False), Hold()),
    "suspended": ({"suspend": True}, LOST_PLACED, Hold()),
    "stopped": ({"replicas": 0}, LOST_PLACED, Hold()),
    "a first start": ({}, replace(LOST, was_ready=False), Hold()),
    "a start from zero": (SLEEPER, replace(LOST_PLACED, was_ready=False), Hold()),
    # --- The last replica is gone
    "gone, and no port yet": ({}, LOST, Hold(WITHOUT, again=SLOW_SECONDS + 0.1)),
    "gone, and the activators listen": ({}, LOST_PLACED, Hold(WITHOUT, serves=True)),
    "terminating": ({}, replace(LOST_PLACED, pods=(ENDING,)), Hold(WITHOUT, serves=True)),
    "not ready": (
        {},
        replace(LOST_PLACED, pods=(replace(POD, ready=False),)),
        Hold(WITHOUT, serves=True),
    ),
    "one of two is gone": ({"replicas": 2}, replace(PLACED, pods=(POD, ENDING)), Hold()),
    "both are gone": ({"replicas": 2}, LOST_PLACED, Hold(WITHOUT, serves=True)),
    "gone while it is edited": (EDIT, LOST_PLACED, Hold(WITHOUT, serves=True)),
    "gone long ago": ({}, replace(LOST_PLACED, was_ready=False), Hold(WITHOUT, serves=True)),
    "gone, and one activator does not answer": (
        {},
        replace(LOST_PLACED, listening=False, phase=WITHOUT, waited=2.0),
        Hold(WITHOUT, again=SLOW_SECONDS - 2.0 + 0.1),
    ),
    "gone, and one activator has not answered for long": (
        {},
        replace(LOST_PLACED, listening=False, phase=WITHOUT, waited=SLOW_SECONDS),
        Hold(WITHOUT, serves=True),
    ),
    "gone, and every activator has an older map": (
        {},
        replace(
            LOST_PLACED,
            listening=False,
            activators=Activators(),
            phase=WITHOUT,
            waited=SLOW_SECONDS,
        ),
        Hold(WITHOUT, why=NONE_LISTENS, again=AGAIN_SECONDS),
    ),
    "gone, and the port map is never written": (
        {},
        replace(LOST, port=20_000, phase=WITHOUT, waited=3600.0),
        Hold(WITHOUT, why=NONE_LISTENS, again=AGAIN_SECONDS),
    ),
    "gone without an activator": (
        {},
        replace(LOST, activators=Activators(), ready=False),
        Hold(
            WITHOUT,
            refusal=Reason.ACTIVATOR_MISSING,
            why="no activator is ready to queue them, so check the Deployment of the activator",
        ),
    ),
    # --- A replica is ready again
    "back, and the activators do not see it": (
        {},
        replace(PLACED, serve=True, activators=READY),
        Hold(AFTER, serves=True, again=BLIND_SECONDS + 0.1),
    ),
    "back, and the activators see nothing": (
        {},
        replace(PLACED, serve=True, activators=READY, phase=AFTER, waited=BLIND_SECONDS),
        Hold(),
    ),
    "back, and they see it": ({}, replace(PLACED, serve=True), Hold()),
    "the old one, and its successor is to come": (
        {},
        replace(PLACED, serve=True, deployment=applied(updatedReplicas=0)),
        Hold(AFTER, serves=True, again=BLIND_SECONDS + 0.1),
    ),
    "started from zero": (
        SLEEPER,
        replace(PLACED, serve=True, activators=READY, deployment=applied(SLEEPER)),
        Hold(),
    ),
    "one of two is back": (
        {"replicas": 2},
        replace(PLACED, serve=True, deployment=applied({"replicas": 2}, updatedReplicas=0)),
        Hold(),
    ),
}


@pytest.mark.parametrize(("spec", "inputs", "want"), CASES.values(), ids=CASES)
def test_the_activators_serve_while_no_replica_does(
    spec: Object, inputs: HoldInputs, want: Hold
) -> None:
    assert decide_hold(resource(spec), inputs) == want


def test_what_restarts_the_pods_from_outside_is_not_mistaken_for_an_edit() -> None:
    """`kubectl rollout restart` annotates the template; other fields may change afterwards."""
    body = live(next(one for one in children(restarted(), CONTEXT) if one["kind"] == "Deployment"))
    body["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "x"
    facts = deployment_facts({**body, "status": {"observedGeneration": 1}})

    got = decide_hold(resource({"rollout": {"maxSurge": 0}}), replace(PLACED, deployment=facts))

    assert got == Hold()


def restarted() -> Resource:
    """Return an endpoint whose Deployment differs in another field than the template."""
    return resource({"rollout": {"maxSurge": 1}})
