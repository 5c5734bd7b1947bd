"""What is reported while an edit waits until the nodes have pulled its images."""

from dataclasses import dataclass
from typing import Literal

from mistral_operator.api import Reason, Resource
from mistral_operator.kube.plurals import counted
from mistral_operator.status.verdict import Verdict, stuck, waiting
from mistral_operator.watch.daemon_sets import PullFacts

_MODEL_FIELD = "spec.model.source.image.reference"
_MOST_NODES = 3
"""Nodes whose failures a message quotes: most nodes fail for the same reason."""


@dataclass(frozen=True, slots=True)
class Prepull:
    """Which nodes pull the images of an edit, and whether the edit waits for them."""

    nodes: tuple[str, ...] = ()
    """Nodes that the DaemonSet is for; without one there is no DaemonSet."""
    keeps_template: bool = False
    """The Deployment keeps its pods until the nodes have pulled."""
    images: tuple[str, ...] = ()
    """What is pulled."""
    pulled: int = 0
    """Nodes that have the images."""
    total: int = 0
    """Nodes that are to have them: without those whose taints keep the pods away."""
    missing: tuple[PullFacts, ...] = ()
    """Nodes that report why they do not have them."""
    rejection: str = ""
    """What the API server reports if it rejects pods."""
    seconds: int = 0
    """How long the edit waits."""
    again: float | None = None
    """Seconds after which to look at the pods again, which are not watched."""

    @property
    def is_complete(self) -> bool:
        """Whether every node has the images."""
        return self.pulled >= self.total

    @property
    def is_impossible(self) -> bool:
        """Whether nodes report that they cannot pull, and none has pulled: a wrong name, perhaps.

        Such an edit is never rolled out: it would take down what serves.
        """
        return not self.pulled and any(one.failure for one in self.missing)

    @property
    def progress(self) -> str:
        """How many nodes have pulled what."""
        nodes = counted(self.total, "node")
        verb = "has" if self.total == 1 else "have"
        return f"{self.pulled} of {nodes} {verb} pulled {' and '.join(self.images)}"


def waits_for_images(resource: Resource, prepull: Prepull) -> Verdict | None:
    """Return that an edit waits for the nodes, None if none does."""
    if not prepull.keeps_template:
        return None
    if prepull.is_impossible:
        return stuck(
            Reason.IMAGE_UNAVAILABLE,
            f"an edit waits, since no node can pull {' and '.join(prepull.images)}, and the pods"
            f" keep what they have: correct {_fields(resource)}, or spec.pod.imagePullSecrets for a"
            f" private registry. {_reports(prepull)}",
        )
    text = f"an edit waits until the nodes have pulled its images: {prepull.progress}"
    return waiting(Reason.PREPULLING, _with_reports(text, prepull))


def images_pulled(
    resource: Resource, prepull: Prepull
) -> tuple[Literal["True", "False"], Reason, str] | None:
    """Return the condition ImagesPulled, None while no images are pulled ahead of time."""
    waits = waits_for_images(resource, prepull)
    if waits is not None:
        return "False", waits.reason, waits.message
    if not prepull.nodes:
        return None
    if prepull.is_complete:
        return "True", Reason.PREPULLED, prepull.progress
    text = (
        f"an edit was rolled out after {prepull.seconds} seconds, although only {prepull.progress}:"
        " pods on other nodes pull while they hold their GPUs"
    )
    return "False", Reason.PREPULL_INCOMPLETE, _with_reports(text, prepull)


def _fields(resource: Resource) -> str:
    """Return where the images are set."""
    spec = resource.spec
    server = "spec.image" if spec.image else "spec.image or the chart value server.image"
    return server if spec.model.source.image is None else f"{server} or {_MODEL_FIELD}"


def _with_reports(text: str, prepull: Prepull) -> str:
    reports = _reports(prepull)
    return f"{text}. {reports}" if reports else text


def _reports(prepull: Prepull) -> str:
    """Return what keeps nodes from pulling."""
    failing = [one for one in prepull.missing if one.failure]
    full = [one for one in prepull.missing if not one.failure]
    texts = [f"node {one.node} cannot pull: {one.failure}" for one in failing]
    texts += [f"node {one.node} cannot run the pod that pulls: {one.unscheduled}" for one in full]
    others = len(texts) - _MOST_NODES
    shown = texts[:_MOST_NODES] + ([f"{counted(others, 'other node')} likewise"] * (others > 0))
    if prepull.rejection:
        shown.append(f"the API server rejects pods that pull: {prepull.rejection}")
    return "; ".join(shown)
