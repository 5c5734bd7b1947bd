"""From observations to what is reported: is it ready, why not, and what to do."""

import json
from dataclasses import replace

import pytest

from builders import (
    EARLIER,
    NOW,
    Object,
    container,
    crashed_container,
    deployment_body,
    merged,
    pod_body,
    ready_pod,
    signal,
)
from mistral_operator.api import ConditionType, Effective, Reason, Status
from mistral_operator.api.status import MAX_MESSAGE, CompiledCode, FetchStatus, Problem
from mistral_operator.status import StatusInput, report, report_invalid
from mistral_operator.status.hold import Hold, HoldPhase
from mistral_operator.status.prepull import Prepull
from mistral_operator.status.verdict import Outlook
from mistral_operator.watch.deployments import RouterFacts
from mistral_server.contract import SignalDocument, Stage, public_text
from operator_cluster_situations import BOUND, CACHES, CLUSTER_SITUATIONS, READY, with_claim
from operator_foreign_containers import FOREIGN_CONTAINERS
from operator_pod_situations import POD_SITUATIONS
from status_inputs import (
    condition,
    condition_of,
    previously,
    remembering,
    status_input,
    with_signals,
)
from status_memory_cases import MEMORY_CASES
from status_model_fit_cases import FITTING
from status_scaling_cases import LIMITS

MEMORY = [oom for oom, *_ in MEMORY_CASES.values() if oom is not None]
HELD = Hold(HoldPhase.WITHOUT, serves=True)
SITUATIONS = CLUSTER_SITUATIONS | POD_SITUATIONS | FOREIGN_CONTAINERS


@pytest.mark.parametrize(
    ("case", "reason", "outlook", "fragments"), SITUATIONS.values(), ids=SITUATIONS.keys()
)
def test_an_input_is_reported_with_cause_and_remedy(
    case: StatusInput, reason: Reason, outlook: Outlook, fragments: list[str]
) -> None:
    status = report(case, NOW)

    ready = condition_of(status)
    assert ready.reason == reason
    assert ready.status == ("True" if reason in {Reason.READY, Reason.ASLEEP} else "False")
    for fragment in fragments:
        assert fragment in ready.message
    progressing = condition_of(status, ConditionType.PROGRESSING)
    degraded = condition_of(status, ConditionType.DEGRADED)
    match outlook:
        case Outlook.GOOD:
            assert (progressing.status, progressing.reason) == ("False", Reason.COMPLETE)
            assert (degraded.status, degraded.reason) == ("False", Reason.HEALTHY)
        case Outlook.WAITING:
            assert (progressing.status, progressing.message) == ("True", ready.message)
            assert (degraded.status, degraded.reason) == ("False", Reason.HEALTHY)
        case Outlook.STUCK:
            assert (progressing.status, progressing.reason) == ("False", Reason.BLOCKED)
            assert reason in progressing.message
            assert (degraded.status, degraded.message) == ("True", ready.message)


@pytest.mark.parametrize("case", [one[0] for one in SITUATIONS.values()], ids=SITUATIONS.keys())
def test_reporting_the_same_input_again_changes_nothing(case: StatusInput) -> None:
    first = report(case, EARLIER)
    written = Status.model_validate(first.model_dump(by_alias=True, exclude_none=True))

    assert report(previously(case, written), NOW) == written


@pytest.mark.parametrize("kind", ConditionType)
def test_every_condition_is_reported_once(kind: ConditionType) -> None:
    spec = {"autoscaling": {"maxReplicas": 2}, "routing": {"policy": "Prefix"}}
    case = with_claim(status_input(spec=spec), BOUND)
    status = report(replace(case, hold=HELD, prepull=PREPULLS[0]), NOW)

    assert [one.type for one in status.conditions].count(kind) == 1
    assert condition_of(status, kind).observed_generation == status.observed_generation == 1


@pytest.mark.parametrize(("case", "status", "reason", "part"), CACHES.values(), ids=CACHES)
def test_the_claim_of_a_cache_has_a_condition(
    case: StatusInput, status: str, reason: Reason, part: str
) -> None:
    cached = condition_of(report(case, NOW), ConditionType.CACHE_BOUND)

    assert (cached.status, cached.reason) == (status, reason)
    assert part in cached.message


def test_without_a_cache_there_is_no_such_condition() -> None:
    types = [one.type for one in report(status_input(), NOW).conditions]

    assert ConditionType.CACHE_BOUND not in types


WAITS = Prepull(("gpu-0",), keeps_template=True, images=("server:2",), total=1)
PREPULLS = (
    WAITS,
    replace(WAITS, keeps_template=False, pulled=1),
    replace(WAITS, keeps_template=False),
)


def test_every_reason_is_given_by_some_case() -> None:
    statuses = [report(case, NOW) for case, *_ in SITUATIONS.values()]
    statuses += [
        report(status_input(spec=spec, nodes=nodes), NOW) for spec, nodes, *_ in FITTING.values()
    ]
    statuses += [report(case, NOW) for case, *_ in LIMITS.values()]

    statuses += [report(case, NOW) for case, *_ in CACHES.values()]

    statuses += [report(replace(status_input(), hold=HELD), NOW)]

    statuses += [report(routed(*case), NOW) for case, *_ in ROUTERS.values()]

    statuses += [report(replace(status_input(), prepull=one), NOW) for one in PREPULLS]

    statuses += [report(remembering(status_input(), oom), NOW) for oom in MEMORY]

    reported = {one.reason for status in statuses for one in status.conditions}

    assert {str(reason) for reason in Reason} - reported == set()


@pytest.mark.parametrize(
    ("ready", "status", "message"),
    [
        (0, "False", "no replica is ready"),
        (1, "True", "1 of 2 replicas ready"),
        (2, "True", "2 of 2 replicas ready"),
    ],
)
def test_one_ready_replica_makes_it_available(ready: int, status: str, message: str) -> None:
    case = status_input(spec={"replicas": 2}, deployment=deployment_body(2, ready=ready))

    available = condition_of(report(case, NOW), ConditionType.AVAILABLE)

    assert (available.status, available.message) == (status, message)


ROUTERS: dict[str, tuple[tuple[Object, RouterFacts | None], tuple[str, str] | None, str]] = {
    "no policy": (({}, RouterFacts(2, 2)), None, ""),
    "suspended": (({"suspend": True, "routing": {"policy": "Prefix"}}, None), None, ""),
    "all ready": (
        ({"replicas": 2, "routing": {"policy": "Prefix"}}, RouterFacts(2, 2)),
        ("True", "Available"),
        "2 of 2 pods of the router ready",
    ),
    "some ready": (
        ({"replicas": 2, "routing": {"policy": "Prefix"}}, RouterFacts(1, 2)),
        ("True", "Available"),
        "1 of 2 pods",
    ),
    "one replica": (
        ({"routing": {"policy": "Session"}}, RouterFacts(2, 2)),
        ("True", "NoEffect"),
        "spec.routing.policy Session has no effect with one replica: raise spec.replicas",
    ),
    "one replica that can become more": (
        (
            {"autoscaling": {"maxReplicas": 4}, "routing": {"policy": "Session"}},
            RouterFacts(2, 2),
        ),
        ("True", "Available"),
        "",
    ),
    "not there": (
        ({"replicas": 2, "routing": {"policy": "Prefix"}}, None),
        ("False", "RouterUnavailable"),
        "kubectl describe pods -l inference.mistral-small.io/router=small",
    ),
    "rejected": (
        ({"replicas": 2, "routing": {"policy": "Prefix"}}, RouterFacts(0, 2, "exceeded quota: x")),
        ("False", "RouterUnavailable"),
        "exceeded quota: x",
    ),
}


def routed(spec: Object, router: RouterFacts | None) -> StatusInput:
    """Return an endpoint and the Deployment of its router."""
    case = status_input(spec=spec)
    return replace(case, observed=replace(case.observed, router=router))


@pytest.mark.parametrize(("case", "expected", "part"), ROUTERS.values(), ids=ROUTERS)
def test_the_condition_says_whether_requests_go_through_the_router(
    case: tuple[Object, RouterFacts | None], expected: tuple[str, str] | None, part: str
) -> None:
    reported = [one for one in report(routed(*case), NOW).conditions if one.type == "RouterReady"]

    assert [(one.status, one.reason) for one in reported] == (
        [] if expected is None else [expected]
    )
    assert all(part in one.message for one in reported)


REFUSED = Hold(HoldPhase.BEFORE, keeps_template=True, refusal=Reason.NO_PORT, why="all are in use")
HOLDS: dict[str, tuple[Hold, tuple[str, str] | None, str, str]] = {
    "none": (Hold(), None, "Starting", ""),
    "no replica": (HELD, ("True", "Holding"), "Starting", "the activator queues requests"),
    "taking over": (
        Hold(HoldPhase.BEFORE, keeps_template=True),
        None,
        "RollingOut",
        "the activator takes over the requests",
    ),
    "in place": (Hold(HoldPhase.BEFORE, serves=True), ("True", "Holding"), "Starting", ""),
    "no port": (
        REFUSED,
        ("False", "NoPort"),
        "RollingOut",
        "when the activator can take over: all are in use",
    ),
    "rolled out without a port": (
        replace(REFUSED, keeps_template=False),
        None,
        "Starting",
        "",
    ),
    "gone without a port": (
        Hold(HoldPhase.WITHOUT, refusal=Reason.NO_PORT, why="all are in use"),
        ("False", "NoPort"),
        "Starting",
        "",
    ),
}


@pytest.mark.parametrize(("hold", "condition_values", "ready", "part"), HOLDS.values(), ids=HOLDS)
def test_what_happens_to_requests_meanwhile_is_reported(
    hold: Hold, condition_values: tuple[str, str] | None, ready: str, part: str
) -> None:
    status = report(replace(status_input(pod_body(container())), hold=hold), NOW)

    held = [(one.status, one.reason) for one in status.conditions if one.type == "Holding"]
    assert held == ([] if condition_values is None else [condition_values])
    assert condition_of(status).reason == ready
    assert part in condition_of(status).message


def test_a_paused_rollout_is_ready_and_an_edit_waits() -> None:
    body = merged(deployment_body(1, updated=0, ready=1), {"spec": {"paused": True}})

    status = report(status_input(ready_pod(), deployment=body), NOW)

    assert (condition_of(status).status, condition_of(status).reason) == ("True", Reason.READY)
    progressing = condition_of(status, ConditionType.PROGRESSING)
    assert (progressing.status, progressing.reason) == ("False", Reason.PAUSED)
    assert "set spec.rollout.paused to false" in progressing.message


def test_the_status_says_what_clients_and_autoscalers_need() -> None:
    status = report(
        status_input(
            spec={"model": {"servedName": "small"}},
            deployment=deployment_body(3, replicas=4, updated=2, ready=1),
        ),
        NOW,
    )

    assert status.url == "http://small.models.svc:8000/v1"
    assert status.served_model == "small"
    assert status.selector == "inference.mistral-small.io/deployment=small"
    assert (status.replicas, status.updated_replicas, status.ready_replicas) == (4, 2, 1)


# --- Times ----------------------------------------------------------------------------------------


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    before = Status(conditions=[condition(status="False", reason=Reason.CREATING)])
    case = previously(status_input(pod_body(container())), before)

    ready = condition_of(report(case, NOW))

    assert ready.reason == Reason.STARTING
    assert ready.last_transition_time == EARLIER


def test_a_condition_gets_the_time_at_which_its_status_changed() -> None:
    before = Status(conditions=[condition(status="False")])
    case = previously(status_input(ready_pod(), deployment=READY), before)

    status = report(case, NOW)

    assert condition_of(status).last_transition_time == NOW
    degraded = condition_of(status, ConditionType.DEGRADED)
    assert degraded.last_transition_time == NOW, "it was never reported before"


# --- Messages -------------------------------------------------------------------------------------


def test_a_long_quotation_is_cut() -> None:
    case = status_input(pod_body(crashed_container(1, message="x" * 10_000)))

    message = condition_of(report(case, NOW)).message

    assert len(message) == MAX_MESSAGE
    assert message.endswith("...")


def test_several_problems_are_all_told() -> None:
    problems = (Problem(Reason.NAME_TAKEN, "one"), Problem(Reason.CLAIM_MISSING, "two"))

    assert condition_of(report(status_input(problems=problems), NOW)).message == "one; two"


def test_a_stage_that_was_told_stands_until_the_operator_hears_again() -> None:
    case = with_signals(status_input(pod_body(container())), small_1=signal(Stage.PROFILING))
    before = report(case, EARLIER)
    silent = replace(case.observed, signals={})

    after = report(previously(replace(case, observed=silent), before), NOW)

    assert condition_of(after).message == "pod small-1: the engine is profiling its memory"


def test_a_stage_that_was_told_of_another_pod_does_not_stand() -> None:
    other = with_signals(
        status_input(pod_body(container(), name="small-9")), small_9=signal(Stage.LOADING)
    )
    before = report(other, EARLIER)

    after = report(previously(status_input(pod_body(container())), before), NOW)

    assert condition_of(after).message == "pod small-1: the server is starting"


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_words(stage: Stage) -> None:
    case = with_signals(status_input(pod_body(container())), small_1=signal(stage))

    assert condition_of(report(case, NOW)).message != "pod small-1: the server is starting"


def test_the_status_has_the_progress_of_the_pod_that_has_fetched_most() -> None:
    pods = [pod_body(container("fetch"), name=name) for name in ("small-1", "small-2", "small-3")]
    case = with_signals(
        status_input(*pods, pod_body(container(), name="small-4")),
        small_1=fetched(7),
        small_2=fetched(9),
        small_4=fetched(11),
    )

    assert report(case, NOW).fetch == FetchStatus(fetched_bytes=9, total_bytes=10)
    assert report(status_input(ready_pod(), deployment=READY), NOW).fetch is None


def fetched(count: int) -> SignalDocument:
    """Return what the init container reports."""
    progress = {"fetched_bytes": count, "total_bytes": 10}
    return SignalDocument.model_validate({"ready": False, "fetch": progress})


# --- Effective configuration ----------------------------------------------------------------------

EFFECTIVE = {"vllm_version": "0.32.0", "context_length": 131072, "kv_cache_tokens": 400000}


def test_the_effective_configuration_is_what_a_ready_pod_says() -> None:
    case = with_signals(
        status_input(pod_body(container(), name="small-0"), ready_pod(), deployment=READY),
        small_0=signal(Stage.LOADING, effective={"vllm_version": "9"}),
        small_1=signal(effective=EFFECTIVE),
    )

    assert report(case, NOW).effective == Effective(**EFFECTIVE)


REPORTED = {
    "loaded": ({"use": "hit"}, CompiledCode(use="Loaded")),
    "compiled": ({"use": "miss"}, CompiledCode(use="Compiled")),
    "not kept": (
        {"use": "off", "reason": "the claim is mounted read-only"},
        CompiledCode(use="NotKept", reason="the claim is mounted read-only"),
    ),
    "a secret and an escape": (
        {"use": "off", "reason": "\x1b[2Jpassword=canary\x00"},
        CompiledCode(use="NotKept", reason=public_text("password=canary", 256)),
    ),
    "a word of another version": ({"use": "perhaps"}, None),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("reported", "shown"), REPORTED.values(), ids=REPORTED)
def test_what_a_ready_pod_did_with_compiled_code_is_shown(
    reported: dict[str, str] | None, shown: CompiledCode | None
) -> None:
    text = json.dumps({"ready": True, "stage": "serving", "compile_cache": reported})
    case = with_signals(
        status_input(ready_pod(), deployment=READY), small_1=SignalDocument.read(text)
    )

    assert report(case, NOW).compiled_code == shown


def test_compiled_code_stands_until_the_operator_hears_again_and_goes_with_the_pods() -> None:
    before = Status(compiled_code=CompiledCode(use="Loaded"))
    ready, starting = (
        previously(one, before)
        for one in (
            status_input(ready_pod(), deployment=READY),
            status_input(pod_body(container())),
        )
    )

    assert report(ready, NOW).compiled_code == before.compiled_code
    assert report(starting, NOW).compiled_code is None


def test_the_effective_configuration_stands_until_the_operator_hears_again() -> None:
    before = Status(effective=Effective(context_length=1000))
    case = previously(status_input(ready_pod(), deployment=READY), before)

    assert report(case, NOW).effective == Effective(context_length=1000)


def test_the_effective_configuration_goes_when_nothing_is_ready() -> None:
    before = Status(effective=Effective(context_length=1000))
    case = previously(status_input(pod_body(container())), before)

    assert report(case, NOW).effective is None


# --- Resources that cannot be read ----------------------------------------------------------------


def test_nothing_is_said_of_a_spec_that_cannot_be_read() -> None:
    problem = Problem(Reason.INVALID_RESOURCE, "spec.replicas: not a number")
    before = Status(served_model="small")
    case = previously(status_input(problems=(problem,), deployment=READY), before)

    status = report_invalid(case, NOW)

    assert condition_of(status).reason == Reason.INVALID_RESOURCE
    assert status.served_model == "small"
    assert status.ready_replicas == 1
    assert ConditionType.MODEL_FITS not in [one.type for one in status.conditions]
