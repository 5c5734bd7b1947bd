"""What is said while the nodes pull the images of an edit."""

from dataclasses import replace

import pytest

from builders import Object, deployment_body, ready_pod
from mistral_operator.api import ConditionType, Reason
from mistral_operator.status import report
from mistral_operator.status.prepull import Prepull
from mistral_operator.watch.daemon_sets import PullFacts
from status_inputs import condition_of, status_input

NOW = "2026-03-01T12:00:00Z"
IMAGE = "registry.example.com/server:2"
ONE = Prepull(("a", "b", "c"), keeps_template=True, images=(IMAGE,), pulled=1, total=3, seconds=600)
NONE = replace(ONE, pulled=0)


def failing(node: str) -> PullFacts:
    """Return a node that cannot pull."""
    return PullFacts(node, failure="ErrImagePull: manifest unknown")


FULL = PullFacts("b", unscheduled="Too many pods")
CASES: dict[str, tuple[Object, Prepull, tuple[str, str, Reason], tuple[str, ...]]] = {
    "waiting": (
        {},
        ONE,
        ("False", "False", Reason.PREPULLING),
        ("an edit waits until the nodes have pulled", f"1 of 3 nodes have pulled {IMAGE}"),
    ),
    "waiting for a node that fails and one without room": (
        {},
        replace(ONE, missing=(failing("c"), FULL)),
        ("False", "False", Reason.PREPULLING),
        ("node c cannot pull: ErrImagePull: manifest unknown; node b cannot run the pod",),
    ),
    "rejected": (
        {},
        replace(NONE, rejection="exceeded quota"),
        ("False", "False", Reason.PREPULLING),
        ("the API server rejects pods that pull: exceeded quota",),
    ),
    "no node can pull": (
        {"image": IMAGE},
        replace(NONE, missing=tuple(map(failing, "abcde"))),
        ("False", "False", Reason.IMAGE_UNAVAILABLE),
        ("no node can pull", "correct spec.image, or spec.pod.imagePullSecrets", "2 other nodes"),
    ),
    "no node can pull what the chart sets": (
        {},
        replace(NONE, missing=(failing("a"),)),
        ("False", "False", Reason.IMAGE_UNAVAILABLE),
        ("correct spec.image or the chart value server.image",),
    ),
    "no node can pull the model": (
        {"model": {"source": {"image": {"reference": "registry.example.com/model:1"}}}},
        replace(NONE, missing=(failing("a"),)),
        ("False", "False", Reason.IMAGE_UNAVAILABLE),
        ("or spec.model.source.image.reference",),
    ),
    "pulled": (
        {},
        replace(ONE, keeps_template=False, pulled=3),
        ("True", "True", Reason.PREPULLED),
        (f"3 of 3 nodes have pulled {IMAGE}",),
    ),
    "rolled out before": (
        {},
        replace(ONE, keeps_template=False, missing=(failing("b"),)),
        ("True", "False", Reason.PREPULL_INCOMPLETE),
        ("rolled out after 600 seconds", "only 1 of 3 nodes", "node b cannot pull"),
    ),
}


@pytest.mark.parametrize(("spec", "prepull", "want", "parts"), CASES.values(), ids=CASES)
def test_the_condition_says_how_far_the_nodes_are(
    spec: Object, prepull: Prepull, want: tuple[str, str, Reason], parts: tuple[str, ...]
) -> None:
    case = status_input(ready_pod(), spec=spec, deployment=deployment_body(1, ready=1))

    status = report(replace(case, prepull=prepull), NOW)

    pulled = condition_of(status, ConditionType.IMAGES_PULLED)
    assert (condition_of(status).status, pulled.status, pulled.reason) == want
    assert [part for part in parts if part not in pulled.message] == []


def test_without_images_to_pull_there_is_no_such_condition() -> None:
    assert ConditionType.IMAGES_PULLED not in [
        one.type for one in report(status_input(), NOW).conditions
    ]


def test_a_replica_that_is_not_ready_is_reported_before_an_edit_that_waits() -> None:
    status = report(replace(status_input(), prepull=ONE), NOW)

    assert condition_of(status).reason == Reason.STARTING
    assert condition_of(status, ConditionType.IMAGES_PULLED).reason == Reason.PREPULLING
