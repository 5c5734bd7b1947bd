"""A conflict about a Deployment's replicas ends, and is reported."""

from builders import CONTEXT, NAME, NAMESPACE, live, merged, resource
from mistral_operator.api import Reason
from mistral_operator.apply.plan import Plan, make_plan
from mistral_operator.apply.replica_conflicts import MOST_REPAIRS, WINDOW_SECONDS, Contest
from mistral_operator.kube.kinds import DEPLOYMENT, SERVICE
from mistral_operator.kube.objects import Key
from mistral_operator.render import children
from mistral_operator.watch.live_children import live_child

KEY = Key(NAMESPACE, NAME)


def plan(**edits: object) -> Plan:
    """Return the plan for an endpoint with an edited Deployment and no other child."""
    owner = resource({"replicas": 2})
    (made,) = [one for one in children(owner, CONTEXT) if one["kind"] == "Deployment"]
    edited = live_child(DEPLOYMENT, merged(live(made), {"spec": edits}))
    live_children = {(DEPLOYMENT, NAME): edited}
    return make_plan(owner.uid, children(owner, CONTEXT), live_children)


def kinds_of(planned: Plan) -> set[str]:
    return {step.kind.kind for step in planned.applies}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_some_edits_are_undone_and_then_the_last_one_stands() -> None:
    contest = Contest(Clock())
    for _ in range(MOST_REPAIRS):
        assert contest.settle(KEY, plan(replicas=5)) == (plan(replicas=5), [])

    settled, problems = contest.settle(KEY, plan(replicas=5))

    assert "Deployment" not in kinds_of(settled)
    assert "Service" in kinds_of(settled), "the rest goes on"
    assert [one.reason for one in problems] == [Reason.REPLICAS_CONTESTED]
    assert "point that autoscaler at the scale subresource" in problems[0].message
    assert "(desired: 2)" in problems[0].message


def test_it_is_tried_again_when_an_hour_is_over() -> None:
    clock = Clock()
    contest = Contest(clock)
    for _ in range(MOST_REPAIRS + 1):
        contest.settle(KEY, plan(replicas=5))

    clock.now = WINDOW_SECONDS

    assert contest.settle(KEY, plan(replicas=5))[1] == []


def test_another_edit_is_undone_however_often() -> None:
    contest = Contest(Clock())
    for _ in range(3 * MOST_REPAIRS):
        assert contest.settle(KEY, plan(revisionHistoryLimit=9))[1] == []


def test_each_resource_has_a_count_of_its_own_which_ends_with_it() -> None:
    contest = Contest(Clock())
    for _ in range(MOST_REPAIRS):
        contest.settle(KEY, plan(replicas=5))

    assert contest.settle(Key(NAMESPACE, "other"), plan(replicas=5))[1] == []
    contest.forget(KEY)
    assert contest.settle(KEY, plan(replicas=5))[1] == []


def test_what_the_resource_itself_sets_is_never_held_back() -> None:
    contest = Contest(Clock())
    for _ in range(MOST_REPAIRS + 1):
        contest.settle(KEY, plan(replicas=5))
    missing = make_plan("uid", children(resource(), CONTEXT), {})

    assert contest.settle(KEY, missing) == (missing, [])
    assert (SERVICE, NAME) in {(step.kind, step.name) for step in missing.applies}
