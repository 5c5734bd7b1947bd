"""What to do about the children of a resource: a value with reasons. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mistral_operator.apply.diff import first_difference
from mistral_operator.kube.kinds import CLAIM, DEPLOYMENT, Kind, kind_of
from mistral_operator.kube.names import ANNOTATION_APPLIED
from mistral_operator.kube.quantities import same_quantity
from mistral_operator.render import KubernetesObject
from mistral_operator.watch.facts import claim_facts
from mistral_operator.watch.live_children import LiveChild, compared_metadata

CHANGED = " was changed by another owner"
"""What follows the place of a difference in a reason."""

Children = Mapping[tuple[Kind, str], LiveChild]


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply an object."""

    desired: KubernetesObject
    kind: Kind
    name: str
    uid: str | None
    """Of the live object, which is known to be ours; None if there is none."""
    reason: str
    only_replicas: bool = False
    """Nothing else of the object is applied."""

    @property
    def exists(self) -> bool:
        """Tell whether there is an object whose fields may be taken back by force."""
        return self.uid is not None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a child that is no longer desired."""

    kind: Kind
    name: str
    uid: str
    reason: str
    unchanged: bool = False
    """Delete it only in the version that the plan was made from."""

    @property
    def waits_for_pods(self) -> bool:
        """Whether it exists as long as its pods, which need other children until then."""
        return self.kind == DEPLOYMENT


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A child's name belongs to an object that is not ours, or is still being deleted."""

    kind: Kind
    name: str
    terminating: bool
    """The object is being deleted: waiting is enough."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which to take them."""

    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def settled(self) -> bool:
        """There is nothing to do and nothing in the way."""
        return not (self.applies or self.deletes or self.obstacles)

    def __str__(self) -> str:
        """Return the plan as one line of log."""
        steps = [f"apply {step.kind.kind} {step.name} ({step.reason})" for step in self.applies]
        steps += [f"delete {step.kind.kind} {step.name} ({step.reason})" for step in self.deletes]
        steps += [f"blocked by {one.kind.kind} {one.name}" for one in self.obstacles]
        return "; ".join(steps) or "nothing to do"


def make_plan(owner_uid: str, desired: Iterable[KubernetesObject], live: Children) -> Plan:
    """Return what has to be done so that the live children become the desired ones."""
    applies, obstacles, kept = [], [], set()
    replaced: list[Delete] = []
    for child in desired:
        kind = kind_of(child["apiVersion"], child["kind"])
        name = child["metadata"]["name"]
        kept.add((kind, name))
        existing = live.get((kind, name))
        if existing is not None and not is_ours(existing, owner_uid):
            terminating = existing.terminating or existing.digest is not None
            obstacles.append(Obstacle(kind, name, terminating=terminating))
            continue
        if existing is not None and kind == CLAIM and _is_replaced(child, existing):
            why = "never bound, and the resource changed"
            replaced.append(Delete(kind, name, existing.uid, why, unchanged=True))
            continue
        reason = _why_apply(child, existing)
        if reason is not None:
            uid = None if existing is None else existing.uid
            applies.append(Apply(child, kind, name, uid, reason))
    deletes = [
        Delete(child.kind, child.name, child.uid, "no longer desired")
        for key, child in live.items()
        if key not in kept and _is_deletable(child, owner_uid)
    ]
    return Plan(tuple(applies), (*replaced, *deletes), tuple(obstacles))


def keep_pods(
    owner_uid: str, desired: KubernetesObject, live: LiveChild | None, before: int | None
) -> tuple[Apply, ...]:
    """Return what is done about a Deployment whose edit waits: it still scales.

    Args:
        owner_uid: uid of the resource.
        desired: the Deployment with the edit, and the replicas until then.
        live: the Deployment as it is.
        before: replicas that the last pass desired; if the same, another owner changed them since.
    """
    if live is None or not is_ours(live, owner_uid):
        return ()
    want, have = desired["spec"]["replicas"], live.object()["spec"].get("replicas")
    if want == have:
        return ()
    reason = f"/spec/replicas{CHANGED}" if want == before else "an edit waits, and replicas changed"
    kind, name = kind_of(desired["apiVersion"], desired["kind"]), desired["metadata"]["name"]
    return (Apply(desired, kind, name, live.uid, reason, only_replicas=True),)


def is_ours(child: LiveChild, owner_uid: str) -> bool:
    """Tell whether a live object is this resource's child.

    An object without any controller but with our digest is a child whose owner reference was
    removed; one with another controller belongs to that one, be it this resource's predecessor.
    """
    if child.terminating:
        return False
    if child.controller_uid is None:
        return child.digest is not None
    return child.controller_uid == owner_uid


def _is_deletable(child: LiveChild, owner_uid: str) -> bool:
    # A claim holds data that took hours to fetch: it goes with its resource, never before.
    return child.kind != CLAIM and is_ours(child, owner_uid)


def _is_replaced(desired: KubernetesObject, live: LiveChild) -> bool:
    """Tell whether a claim has to be created anew: it holds nothing, and nothing of it can change.

    Only after a change of the resource: what something else changes at creation, it would change
    again.
    """
    if live.digest == desired["metadata"]["annotations"][ANNOTATION_APPLIED]:
        return False
    facts = claim_facts(live.object(), live.uid)
    want = claim_facts(desired, live.uid)
    return not facts.bound and (
        facts.access_modes != want.access_modes
        or facts.storage_class != want.storage_class
        or not same_quantity(facts.size, want.size)
    )


def _why_apply(desired: KubernetesObject, live: LiveChild | None) -> str | None:
    if live is None:
        return "missing"
    if live.digest != desired["metadata"]["annotations"][ANNOTATION_APPLIED]:
        return "the resource changed"
    compared = {**desired, "metadata": compared_metadata(desired["metadata"])}
    difference = first_difference(compared, live.object())
    return None if difference is None else f"{difference}{CHANGED}"
