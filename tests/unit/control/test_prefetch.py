"""When a Job fetches the model, as one table of the decision."""

from dataclasses import replace
from typing import Any

import pytest

from builders import (
    CONTEXT,
    NAME,
    Object,
    container,
    ended,
    fetch,
    live,
    merged,
    node_body,
    pod_body,
    resource,
)
from mistral_operator.control.prefetch import MOST_NODES, PrefetchInputs, decide_prefetch
from mistral_operator.kube import kinds, names
from mistral_operator.prefetch import Placement, Prefetch, PrefetchPhase
from mistral_operator.render import children
from mistral_operator.render.metadata import with_applied_digest
from mistral_operator.render.prefetch import prefetch_job, prefetch_mark
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.facts import ClaimFacts, PodFacts, pod_facts
from mistral_operator.watch.jobs import JobFacts, job_facts
from mistral_operator.watch.live_children import live_child
from mistral_operator.watch.nodes import node_facts

ANYWHERE = Placement()
NONE, CLAIM, FETCHING, REPLACING, FETCHED, RECORDED, UNPLACED = PrefetchPhase
ON: Object = {"cache": {"prefetch": "BeforePods"}}
NEXT: Object = merged(ON, {"model": {"revision": "next"}})
BOUND = ClaimFacts("small-model-cache", "claim", "80Gi", ("ReadWriteOnce",), bound=True)
UNBOUND = replace(BOUND, bound=False)
SHARED = replace(BOUND, access_modes=("ReadWriteMany",))
OLD = prefetch_mark(resource(ON), BOUND)
NEW = prefetch_mark(resource(NEXT), BOUND)
GPUS = tuple(
    node_facts(one)
    for one in (
        node_body("b"),
        node_body("a"),
        node_body("small", gpus=1),
        node_body("none", gpus=0),
        node_body("cordoned", spec={"unschedulable": True}),
    )
)


def deployment(spec: Object, mark: str = "", *, desired: int = 1, **status: int) -> DeploymentFacts:
    """Return the Deployment of a spec, with a mark and its replicas."""
    phase = RECORDED if mark else NONE
    rendered = children(resource(spec), CONTEXT, prefetch=Prefetch(phase, mark))
    body = live(next(one for one in rendered if one["kind"] == "Deployment"))
    counts = {"replicas": desired, "updatedReplicas": desired, "readyReplicas": desired, **status}
    changes = {"spec": {"replicas": desired}, "status": {"observedGeneration": 1, **counts}}
    return deployment_facts(merged(body, changes))


def job(
    spec: Object, mark: str = NEW, placement: Placement = ANYWHERE, **status: object
) -> JobFacts:
    """Return the Job of a spec as it was created."""
    rendered = with_applied_digest(prefetch_job(resource(spec), CONTEXT, mark, placement))
    return job_facts({**live(rendered), "status": status})


def job_pod(of: JobFacts, *containers: Object, node: str = "a", **status: object) -> PodFacts:
    """Return the pod of a Job."""
    annotations = {names.ANNOTATION_CONFIGURATION: of.configuration}
    body = pod_body(
        *containers, labels=names.prefetch_labels(NAME), annotations=annotations, status={**status}
    )
    return pod_facts({**body, "spec": {"nodeName": node}})


def replica(node: str, **metadata: Any) -> PodFacts:
    """Return a replica on a node."""
    return pod_facts({**pod_body(container(), **metadata), "spec": {"nodeName": node}})


def no_node(of: JobFacts) -> PodFacts:
    """Return the pod of a Job for which the scheduler finds no node."""
    return replace(job_pod(of, node=""), unschedulable="0/1 nodes are available")


INPUTS = PrefetchInputs(CONTEXT, claim=BOUND, deployment=deployment(ON, OLD), nodes=GPUS)
FIRST = replace(INPUTS, deployment=None)
BESIDE = Placement(beside_replicas=True)
ON_GPUS = Placement(nodes=("a", "b"))
RUNNING = job(NEXT)
FETCHING_NEXT = Prefetch(FETCHING, NEW, keeps_job=True, replicas=1)
DONE = Prefetch(FETCHED, NEW, keeps_job=True)
CORRECTED: Object = merged(NEXT, {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}})
FETCH_DONE = fetch(container(state=ended(0, "Completed")))

CASES: dict[str, tuple[Object, PrefetchInputs, Prefetch]] = {
    # --- Nothing to fetch
    "it is off": ({"cache": {}}, INPUTS, Prefetch()),
    "there is no cache": ({}, replace(INPUTS, claim=None), Prefetch()),
    "the Deployment says it": (ON, INPUTS, Prefetch(RECORDED, OLD)),
    "another field is edited": (
        merged(ON, {"startupSeconds": 900}),
        INPUTS,
        Prefetch(RECORDED, OLD),
    ),
    "a mirror is named": (
        merged(ON, {"model": {"source": {"hub": {"endpoint": "https://hub.example.com"}}}}),
        INPUTS,
        Prefetch(RECORDED, OLD),
    ),
    # --- A first start
    "a first start without a claim": (ON, replace(FIRST, claim=None), Prefetch(CLAIM)),
    "a first start": (ON, FIRST, Prefetch(FETCHING, OLD)),
    "a first start, and the volume is to be created": (
        ON,
        replace(FIRST, claim=UNBOUND),
        Prefetch(FETCHING, OLD, ON_GPUS),
    ),
    "a first start without a node with the GPUs": (
        merged(ON, {"pod": {"gpu": {"resourceName": "amd.com/gpu"}}}),
        replace(FIRST, claim=UNBOUND),
        Prefetch(UNPLACED),
    ),
    "a first start without GPUs": (
        merged(ON, {"device": "cpu", "engine": {"kvCache": {"memory": "4Gi"}}}),
        replace(FIRST, claim=UNBOUND),
        Prefetch(FETCHING, OLD),
    ),
    "a first start on selected nodes": (
        merged(ON, {"pod": {"nodeSelector": {"kubernetes.io/hostname": "b"}}}),
        replace(FIRST, claim=UNBOUND),
        Prefetch(FETCHING, OLD, Placement(nodes=("b",))),
    ),
    # --- Turned on later
    "turned on while a replica serves": (
        ON,
        replace(INPUTS, deployment=deployment(ON)),
        Prefetch(RECORDED, OLD),
    ),
    "turned on while the first replica starts": (
        ON,
        replace(INPUTS, deployment=deployment(ON, readyReplicas=0)),
        Prefetch(NONE, OLD),
    ),
    "turned on at zero": (
        ON,
        replace(INPUTS, deployment=deployment(ON, desired=0)),
        Prefetch(FETCHING, OLD, replicas=0),
    ),
    "turned on together with an edit": (
        merged(NEXT, {"replicas": 4}),
        replace(INPUTS, deployment=deployment(ON, desired=2)),
        Prefetch(FETCHING, NEW, replicas=2),
    ),
    # --- An edit of the model
    "an edit": (NEXT, INPUTS, Prefetch(FETCHING, NEW, replicas=1)),
    "an edit of the model and the replicas": (
        merged(NEXT, {"replicas": 4}),
        INPUTS,
        Prefetch(FETCHING, NEW, replicas=4),
    ),
    "an edit at zero": (
        merged(NEXT, {"replicas": 0}),
        INPUTS,
        Prefetch(FETCHING, NEW, replicas=0),
    ),
    "an edit while a replica has mounted the claim": (
        NEXT,
        replace(INPUTS, replicas=(replica("a"),)),
        Prefetch(FETCHING, NEW, BESIDE, replicas=1),
    ),
    "an edit while replicas on several nodes share the claim": (
        NEXT,
        replace(INPUTS, claim=SHARED, replicas=(replica("a"), replica("b", name="small-2"))),
        Prefetch(FETCHING, NEW, replicas=1),
    ),
    "an edit while a replica waits for a node": (
        NEXT,
        replace(INPUTS, replicas=(replica(""),)),
        Prefetch(FETCHING, NEW, replicas=1),
    ),
    "an edit while a replica ends": (
        NEXT,
        replace(INPUTS, replicas=(replica("a", deletionTimestamp="2026-03-01T12:00:00Z"),)),
        Prefetch(FETCHING, NEW, replicas=1),
    ),
    "the Job runs": (NEXT, replace(INPUTS, job=RUNNING), FETCHING_NEXT),
    "the Job runs, and its pod too": (
        NEXT,
        replace(INPUTS, job=RUNNING, prefetch_pods=(job_pod(RUNNING, fetch(container())),)),
        FETCHING_NEXT,
    ),
    "the Job runs, and another field is edited": (
        merged(NEXT, {"startupSeconds": 900}),
        replace(INPUTS, job=RUNNING),
        FETCHING_NEXT,
    ),
    "the Job is that of another model": (
        NEXT,
        replace(INPUTS, job=job(ON, OLD)),
        Prefetch(REPLACING, NEW, replicas=1),
    ),
    "the Job runs with another token": (
        CORRECTED,
        replace(INPUTS, job=RUNNING),
        Prefetch(REPLACING, NEW, replicas=1),
    ),
    "the Job has succeeded": (NEXT, replace(INPUTS, job=job(NEXT, succeeded=1)), DONE),
    "the Job has met its criteria": (
        NEXT,
        replace(
            INPUTS,
            job=job(NEXT, conditions=[{"type": "SuccessCriteriaMet", "status": "True"}]),
        ),
        DONE,
    ),
    "the fetch has succeeded, and a sidecar runs on": (
        NEXT,
        replace(INPUTS, job=RUNNING, prefetch_pods=(job_pod(RUNNING, FETCH_DONE),)),
        DONE,
    ),
    "the fetch of an earlier Job has succeeded": (
        NEXT,
        replace(INPUTS, job=RUNNING, prefetch_pods=(job_pod(job(ON, OLD), FETCH_DONE),)),
        FETCHING_NEXT,
    ),
    "the Job of another model has succeeded": (
        NEXT,
        replace(INPUTS, job=job(ON, OLD, succeeded=1)),
        Prefetch(REPLACING, NEW, replicas=1),
    ),
    "the edit is reverted": (ON, replace(INPUTS, job=RUNNING), Prefetch(RECORDED, OLD)),
    # --- Where the Job runs
    "the claim is bound now": (
        ON,
        replace(FIRST, job=job(ON, OLD, ON_GPUS)),
        Prefetch(FETCHING, OLD, keeps_job=True),
    ),
    "the nodes with GPUs are others now": (
        ON,
        replace(FIRST, claim=UNBOUND, job=job(ON, OLD, Placement(nodes=("gone",)))),
        Prefetch(FETCHING, OLD, ON_GPUS, keeps_job=True),
    ),
    "the nodes with GPUs are others now, and the pod found none": (
        ON,
        replace(
            FIRST,
            claim=UNBOUND,
            job=(stale := job(ON, OLD, Placement(nodes=("gone",)))),
            prefetch_pods=(no_node(stale),),
        ),
        Prefetch(REPLACING, OLD),
    ),
    "the pod finds no node, and no other placement would help": (
        NEXT,
        replace(INPUTS, job=RUNNING, prefetch_pods=(no_node(RUNNING),)),
        FETCHING_NEXT,
    ),
    "a replica starts on another node than the Job": (
        NEXT,
        replace(
            INPUTS,
            job=RUNNING,
            replicas=(replica("b"),),
            prefetch_pods=(job_pod(RUNNING, fetch(container())),),
        ),
        Prefetch(REPLACING, NEW, replicas=1),
    ),
    "a replica starts on the node of the Job": (
        NEXT,
        replace(
            INPUTS,
            job=RUNNING,
            replicas=(replica("a"),),
            prefetch_pods=(job_pod(RUNNING, fetch(container())),),
        ),
        replace(FETCHING_NEXT, placement=BESIDE),
    ),
    # --- Suspended
    "suspended": (merged(ON, {"suspend": True}), INPUTS, Prefetch(RECORDED, OLD)),
    "suspended with an edit": (merged(NEXT, {"suspend": True}), INPUTS, Prefetch()),
    "suspended without a claim": (
        merged(ON, {"suspend": True}),
        replace(INPUTS, claim=None),
        Prefetch(replicas=0),
    ),
    "resumed with another claim": (
        ON,
        replace(
            INPUTS,
            claim=replace(BOUND, uid="another"),
            deployment=deployment(ON, OLD, desired=0),
        ),
        Prefetch(FETCHING, prefetch_mark(resource(ON), replace(BOUND, uid="another")), replicas=0),
    ),
}


@pytest.mark.parametrize(("spec", "inputs", "want"), CASES.values(), ids=CASES)
def test_a_model_is_fetched_before_pods_need_it(
    spec: Object, inputs: PrefetchInputs, want: Prefetch
) -> None:
    assert decide_prefetch(resource(spec), inputs) == want


@pytest.mark.parametrize(
    ("phase", "holds", "recorded"),
    [
        (NONE, False, ""),
        (CLAIM, True, ""),
        (FETCHING, True, ""),
        (REPLACING, True, ""),
        (FETCHED, False, NEW),
        (RECORDED, False, NEW),
        (UNPLACED, False, ""),
    ],
)
def test_the_pods_wait_until_the_model_is_fetched(
    phase: PrefetchPhase, holds: bool, recorded: str
) -> None:
    prefetch = Prefetch(phase, NEW)

    assert (prefetch.holds, prefetch.recorded) == (holds, recorded)


def test_a_job_of_a_large_cluster_names_some_of_its_nodes() -> None:
    nodes = tuple(node_facts(node_body(f"gpu-{number:03}")) for number in range(300))

    got = decide_prefetch(resource(ON), replace(FIRST, claim=UNBOUND, nodes=nodes))

    assert len(got.placement.nodes) == MOST_NODES


def test_what_a_live_job_says_of_itself_is_kept() -> None:
    failed = {"type": "Failed", "status": "True", "message": "Job was active too long"}
    rendered = with_applied_digest(prefetch_job(resource(NEXT), CONTEXT, NEW, Placement()))
    body = {**live(rendered), "status": {"conditions": [failed]}}

    facts = live_child(kinds.JOB, body).job

    assert facts is not None
    assert (facts.succeeded, facts.failure) == (False, "Job was active too long")
    assert facts.configuration == RUNNING.configuration
