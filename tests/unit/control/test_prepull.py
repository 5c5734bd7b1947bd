"""When an edit waits for its images, as one table of the decision."""

from dataclasses import replace

import pytest

from builders import CONTEXT, Object, live, node_body, resource
from mistral_operator.control.prepull import POLL_SECONDS, PrepullInputs, decide_prepull
from mistral_operator.render import children
from mistral_operator.status.prepull import Prepull
from mistral_operator.watch.daemon_sets import DaemonSetFacts, PullFacts
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.nodes import node_facts

NEW = "registry.example.com/server:2"
SECONDS = 1200
AHEAD: Object = {"rollout": {"prepull": "BeforeRollout"}}
EDIT: Object = {**AHEAD, "image": NEW}
MODEL: Object = {
    **AHEAD,
    "model": {"source": {"image": {"reference": "registry.example.com/model:2"}}},
}
PULLED_A = PullFacts("gpu-a", pulled=True)
FAILS_A = PullFacts("gpu-a", failure="ErrImagePull: manifest unknown")
FAILS_B = replace(FAILS_A, node="gpu-b")
FULL_B = PullFacts("gpu-b", unscheduled="Too many pods")
STARTING_B = PullFacts("gpu-b")


def applied(spec: Object, **status: int) -> DeploymentFacts:
    """Return the Deployment of a spec whose controller has dealt with it."""
    rendered = next(one for one in children(resource(spec), CONTEXT) if one["kind"] == "Deployment")
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, **status}
    return deployment_facts({**live(rendered), "status": {"observedGeneration": 1, **counts}})


NODES = tuple(
    node_facts(body)
    for body in (
        node_body("gpu-b"),
        node_body("gpu-a"),
        node_body("small", 1),
        node_body("cpu", 0),
        node_body("cordoned", spec={"unschedulable": True}),
        node_body("lost", status={"conditions": [{"type": "Ready", "status": "Unknown"}]}),
        node_body("back", 1, status={"conditions": [{"type": "Ready", "status": "True"}]}),
    )
)
INPUTS = PrepullInputs(CONTEXT, deployment=applied(AHEAD), nodes=NODES)
RUNS = replace(
    INPUTS, daemon_set=DaemonSetFacts(observed=True, nodes=2), pulls=(STARTING_B,), age=100.0
)
ROLLED_OUT = replace(RUNS, deployment=applied(EDIT, updatedReplicas=0))

WAITS = Prepull(
    ("gpu-a", "gpu-b"),
    keeps_template=True,
    images=(NEW,),
    total=2,
    seconds=SECONDS,
    again=POLL_SECONDS,
)
GOES_ON = replace(WAITS, keeps_template=False)

CASES: dict[str, tuple[Object, PrepullInputs, Prepull]] = {
    # --- Nothing waits
    "no edit": (AHEAD, INPUTS, Prepull()),
    "another edit": ({**AHEAD, "startupSeconds": 900}, INPUTS, Prepull()),
    "not wanted": ({"image": NEW}, replace(INPUTS, deployment=applied({})), Prepull()),
    "a first start": (EDIT, replace(INPUTS, deployment=None), Prepull()),
    "suspended": ({**EDIT, "suspend": True}, RUNS, Prepull()),
    "no replicas": ({**EDIT, "replicas": 0}, RUNS, Prepull()),
    "no node fits": (EDIT, replace(INPUTS, nodes=NODES[2:]), Prepull()),
    "an image that others set": (
        AHEAD,
        replace(INPUTS, deployment=replace(applied(AHEAD), images=("registry.example.com/x:1",))),
        Prepull(),
    ),
    # --- An edit waits
    "an edit, and no pod pulls yet": (EDIT, INPUTS, WAITS),
    "an edit while the endpoint is scaled to zero": (
        {**EDIT, "replicas": 0, "autoscaling": {"minReplicas": 0, "maxReplicas": 2}},
        INPUTS,
        WAITS,
    ),
    "an edit of what has a paused rollout": (
        {**EDIT, "rollout": {"prepull": "BeforeRollout", "paused": True}},
        INPUTS,
        WAITS,
    ),
    "an edit of the model's image": (
        MODEL,
        INPUTS,
        replace(WAITS, images=(CONTEXT.server_image, "registry.example.com/model:2")),
    ),
    "one of two nodes has pulled": (
        EDIT,
        replace(RUNS, pulls=(PULLED_A, STARTING_B)),
        replace(WAITS, pulled=1),
    ),
    "a taint keeps it from a node": (
        EDIT,
        replace(RUNS, daemon_set=DaemonSetFacts(observed=True, nodes=1)),
        replace(WAITS, total=1),
    ),
    "a node was added a moment ago": (
        EDIT,
        replace(RUNS, daemon_set=DaemonSetFacts(observed=False, nodes=1, ready=1)),
        replace(WAITS, pulled=1),
    ),
    "a node fails, and there is time left": (
        EDIT,
        replace(RUNS, pulls=(PULLED_A, FAILS_B)),
        replace(WAITS, pulled=1, missing=(FAILS_B,)),
    ),
    "a node has no room": (EDIT, replace(RUNS, pulls=(FULL_B,)), replace(WAITS, missing=(FULL_B,))),
    "the time is nearly over": (
        EDIT,
        replace(RUNS, age=SECONDS - 1.0),
        replace(WAITS, again=1.1),
    ),
    "no node can pull, whatever the time": (
        EDIT,
        replace(RUNS, pulls=(FAILS_A, FULL_B), age=10.0 * SECONDS),
        replace(WAITS, missing=(FAILS_A, FULL_B)),
    ),
    "the pods are rejected": (
        EDIT,
        replace(RUNS, pulls=(), rejection="exceeded quota"),
        replace(WAITS, rejection="exceeded quota"),
    ),
    # --- It does not wait any more
    "every node has pulled": (
        EDIT,
        replace(RUNS, daemon_set=DaemonSetFacts(observed=True, nodes=2, ready=2), pulls=()),
        replace(GOES_ON, pulled=2, again=None),
    ),
    "every node has pulled, and a container cannot be created": (
        EDIT,
        replace(RUNS, pulls=(PULLED_A, replace(PULLED_A, node="gpu-b"))),
        replace(GOES_ON, pulled=2, again=None),
    ),
    "taints keep it from every node": (
        EDIT,
        replace(RUNS, daemon_set=DaemonSetFacts(observed=True), pulls=()),
        replace(GOES_ON, total=0, again=None),
    ),
    "the time is over, and a node has pulled": (
        EDIT,
        replace(RUNS, pulls=(PULLED_A, FAILS_B), age=float(SECONDS)),
        replace(GOES_ON, pulled=1, missing=(FAILS_B,)),
    ),
    "the time is over, and no node fails": (EDIT, replace(RUNS, age=float(SECONDS)), GOES_ON),
    # --- It is rolled out
    "pods go on pulling until the rollout is over": (EDIT, ROLLED_OUT, GOES_ON),
    "failures keep no edit that is rolled out": (
        EDIT,
        replace(ROLLED_OUT, pulls=(FAILS_A, FAILS_B)),
        replace(GOES_ON, missing=(FAILS_A, FAILS_B)),
    ),
    "the rollout is over": (EDIT, replace(RUNS, deployment=applied(EDIT)), Prepull()),
    "the rollout is paused": (
        EDIT,
        replace(ROLLED_OUT, deployment=replace(applied(EDIT, updatedReplicas=0), paused=True)),
        Prepull(),
    ),
    "turned off while pods pull": ({"image": NEW}, RUNS, Prepull()),
}


@pytest.mark.parametrize(("spec", "inputs", "want"), CASES.values(), ids=CASES)
def test_an_edit_waits_for_its_images_only_where_that_helps(
    spec: Object, inputs: PrepullInputs, want: Prepull
) -> None:
    assert decide_prepull(resource(spec), inputs) == want


def test_on_cpus_every_node_pulls_that_the_selector_selects() -> None:
    nodes = tuple(
        node_facts(node_body(name, 0, metadata={"labels": {"pool": pool}}))
        for name, pool in (("a", "models"), ("b", "web"))
    )
    on_cpus = {"device": "cpu", "engine": {"kvCache": {"memory": "4Gi"}}}
    spec = {**EDIT, **on_cpus, "pod": {"nodeSelector": {"pool": "models"}}}

    got = decide_prepull(resource(spec), replace(INPUTS, nodes=nodes))

    assert (got.nodes, got.keeps_template) == (("a",), True)
