"""Typed facts of live objects. Pure: raw objects in, dataclasses out.

Facts hold only what decisions need, so that the pods of a fleet take little memory.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.watch.deployments import DeploymentFacts, RouterFacts
from mistral_operator.watch.jobs import JobFacts
from mistral_operator.watch.nodes import NodeFacts, quantities
from mistral_server.contract import (
    CLASS_OF_EXIT_CODE,
    FailureClass,
    SignalDocument,
    TerminationReport,
)

_IMAGE_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "ImageInspectError", "RegistryUnavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExitFacts:
    """One exit of a container."""

    identity: str
    """Unique identity of this exit, across containers and pods."""
    exit_code: int
    reason: str = ""
    message: str = ""
    finished: str = ""
    """Time of the exit as RFC 3339; empty if the kubelet does not report it."""

    @property
    def report(self) -> TerminationReport | None:
        """The termination report, if the server wrote one."""
        return _report(self.message, self.exit_code)


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container of a pod."""

    name: str
    ready: bool = False
    started: bool = False
    running: bool = False
    restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    """Exit code of the last exit, None if it never exited."""
    exit_reason: str = ""
    exit_message: str = ""
    exits: tuple[ExitFacts, ...] = ()
    """Exits that the kubelet reports, at most two, the newest last."""

    @property
    def cannot_pull(self) -> bool:
        """Whether the kubelet reports that it cannot get the image."""
        return self.waiting_reason in _IMAGE_REASONS

    @property
    def ours(self) -> bool:
        """Whether the operator rendered it; webhooks add others, such as sidecars."""
        return self.name in {names.CONTAINER, names.FETCH_CONTAINER}

    @property
    def report(self) -> TerminationReport | None:
        """The termination report of the last exit, if the server wrote one."""
        return _report(self.exit_message, self.exit_code)


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of an endpoint."""

    name: str
    namespace: str
    uid: str
    owner: str
    ip: str | None = None
    phase: str = "Pending"
    ready: bool = False
    terminating: bool = False
    since: str = ""
    """Since when it has its node, or waits for one, as RFC 3339; empty if that is not known."""
    unschedulable: str = ""
    """Message of the scheduler, if no node fits."""
    requests: tuple[tuple[str, Decimal], ...] = ()
    """What it requests of a node, if no node fits."""
    gates: tuple[str, ...] = ()
    """Scheduling gates, which keep the pod from its scheduler."""
    scheduler: str = ""
    """Name of the scheduler, if it has not looked at the pod yet."""
    evicted: str = ""
    """Reason why the pod as a whole failed, if it did."""
    configuration: str = ""
    """Digest of its pod template, from the annotation."""
    containers: tuple[ContainerFacts, ...] = ()
    """Init containers first."""
    prefetches: bool = False
    """It fetches the model in advance, and is no replica."""
    node: str = ""
    """Its node; empty while it has none."""
    keys_secret: str = ""
    """Name of the Secret with its API keys; empty if it has none."""

    @property
    def serves(self) -> bool:
        """Whether clients reach it, and will go on to."""
        return self.ready and not self.terminating

    @property
    def is_fetching(self) -> bool:
        """Whether its init container fetches the model, which then serves the signals."""
        fetch = self.container(names.FETCH_CONTAINER)
        return fetch is not None and fetch.running

    @property
    def has_fetched(self) -> bool:
        """Whether its container that fetches the model has succeeded, whatever others do."""
        fetch = self.container(names.FETCH_CONTAINER)
        return fetch is not None and not fetch.running and fetch.exit_code == 0

    def container(self, name: str) -> ContainerFacts | None:
        """Return a container by its name."""
        return next((one for one in self.containers if one.name == name), None)


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """The PersistentVolumeClaim of an endpoint's cache."""

    name: str
    uid: str
    size: str
    access_modes: tuple[str, ...] = ()
    storage_class: str | None = None
    bound: bool = False
    """It has a volume, so it may hold a model. Never bound before: it holds nothing."""
    phase: str = ""
    """Bound, Pending, also while it waits for the volume that it names, or Lost with its volume."""
    cause: str = ""
    """Why it is not bound, as far as anyone reports it."""
    hopeless: bool = False
    """It is not bound until someone acts."""

    @property
    def usable(self) -> bool:
        """Whether pods can mount it."""
        return self.bound and self.phase not in {"Pending", "Lost"}


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that is observed of one resource."""

    deployment: DeploymentFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    """Its replicas."""
    prefetch_job: JobFacts | None = None
    """The Job that fetches its model in advance."""
    prefetch_pods: tuple[PodFacts, ...] = ()
    """Pods of that Job."""
    signals: Mapping[str, SignalDocument] | None = None
    """Last signals of each pod, by pod uid."""
    nodes: tuple[NodeFacts, ...] = ()
    router: RouterFacts | None = None
    """The Deployment of the router, if it exists."""
    claim: ClaimFacts | None = None
    """The claim of the cache, if it exists."""
    keda: bool = True
    """KEDA's CRD ScaledObject is installed."""
    activator: bool = True
    """An activator is ready to serve endpoints that are scaled to zero."""
    no_port: str | None = None
    """Why the endpoint has no port of the activators although it can scale to zero."""

    def signal(self, pod: PodFacts) -> SignalDocument | None:
        """Return the last signals of a pod."""
        return (self.signals or {}).get(pod.uid)


def _report(message: str, exit_code: int | None) -> TerminationReport | None:
    """Return a server's report; where its class is unknown, with that of the exit code."""
    try:
        report = TerminationReport.read(message)
    except ValueError:
        return None
    if not report.failure and not report.message:
        return None  # another document, such as a line of a log
    failure = CLASS_OF_EXIT_CODE.get(exit_code or 0)
    if isinstance(report.failure, FailureClass) or failure is None:
        return report
    return report.model_copy(update={"failure": failure})


def pod_facts(body: Body) -> PodFacts:
    """Return the facts of a pod."""
    metadata, status = body["metadata"], body.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    spec = body.get("spec", {})
    fits_nowhere = scheduled.get("reason") == "Unschedulable"
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return PodFacts(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        owner=names.owner_of(metadata.get("labels", {})) or "",
        ip=status.get("podIP"),
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        since=scheduled.get("lastTransitionTime") or "",
        unschedulable=(
            _not_scheduled(scheduled)
            if scheduled.get("status") == "False" and scheduled.get("reason") != "SchedulingGated"
            else ""
        ),
        requests=tuple(_requests(spec)) if fits_nowhere else (),
        gates=tuple(one["name"] for one in spec.get("schedulingGates", ())),
        scheduler=(
            "" if scheduled or spec.get("nodeName") else str(spec.get("schedulerName") or "")
        ),
        evicted=_failure(status) if status.get("phase") == "Failed" else "",
        configuration=metadata.get("annotations", {}).get(names.ANNOTATION_CONFIGURATION, ""),
        containers=tuple(_container_facts(one, metadata["uid"]) for one in statuses),
        prefetches=names.LABEL_PREFETCH in metadata.get("labels", {}),
        node=str(spec.get("nodeName") or ""),
        keys_secret=_keys_secret(spec),
    )


def _requests(spec: Body) -> Iterator[tuple[str, Decimal]]:
    """Yield what the containers together, or an init container if it is more, request."""
    together: dict[str, Decimal] = {}
    for container in spec.get("containers", ()):
        for name, amount in quantities(container.get("resources", {}).get("requests", {})):
            together[name] = together.get(name, Decimal(0)) + amount
    for container in spec.get("initContainers", ()):
        for name, amount in quantities(container.get("resources", {}).get("requests", {})):
            together[name] = max(together.get(name, Decimal(0)), amount)
    yield from sorted(together.items())


def _not_scheduled(condition: Body) -> str:
    return str(condition.get("message") or condition.get("reason") or "")


def _keys_secret(spec: Body) -> str:
    volumes = (one for one in spec.get("volumes", ()) if one["name"] == names.VOLUME_API_KEYS)
    return next((one.get("secret", {}).get("secretName", "") for one in volumes), "")


def _failure(status: Body) -> str:
    return str(status.get("message") or status.get("reason") or "")


def _container_facts(status: Body, pod: str) -> ContainerFacts:
    state, last = status.get("state", {}), status.get("lastState", {})
    waiting = state.get("waiting", {})
    exits = [one["terminated"] for one in (last, state) if one.get("terminated")]
    newest: Body = exits[-1] if exits else {}
    return ContainerFacts(
        name=status["name"],
        ready=status.get("ready", False),
        started=status.get("started") or False,
        running="running" in state,
        restarts=status.get("restartCount", 0),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=newest.get("exitCode"),
        exit_reason=newest.get("reason", ""),
        exit_message=newest.get("message", ""),
        exits=tuple(_exit_facts(one, pod, status["name"]) for one in exits),
    )


def _exit_facts(terminated: Body, pod: str, container: str) -> ExitFacts:
    # A container that the kubelet lost has no ID: pod, container and time identify its exit.
    finished = terminated.get("finishedAt") or ""
    identity = terminated.get("containerID") or f"{pod}/{container}/{finished}"
    return ExitFacts(
        identity=hashlib.sha256(identity.encode()).hexdigest()[:12],
        exit_code=terminated.get("exitCode", 0),
        reason=terminated.get("reason", ""),
        message=terminated.get("message", ""),
        finished=finished,
    )


def ready_addresses(body: Body) -> list[str]:
    """Return the address of each ready endpoint of an EndpointSlice."""
    return [
        endpoint["addresses"][0]
        for endpoint in body.get("endpoints") or ()
        if endpoint.get("addresses") and _is_ready(endpoint.get("conditions") or {})
    ]


def _is_ready(conditions: Mapping[str, bool]) -> bool:
    """Return whether an endpoint is ready; that of a Service which publishes all always says so."""
    serves = conditions.get("serving", True) and not conditions.get("terminating", False)
    return conditions.get("ready", True) and serves


def claim_facts(body: Body, uid: str) -> ClaimFacts:
    """Return the facts of a PersistentVolumeClaim; of its metadata only the name is needed."""
    spec = body.get("spec") or {}
    return ClaimFacts(
        name=body["metadata"]["name"],
        uid=uid,
        size=str(spec.get("resources", {}).get("requests", {}).get("storage", "0")),
        access_modes=tuple(spec.get("accessModes") or ()),
        storage_class=spec.get("storageClassName"),
        bound=bool(spec.get("volumeName")),
        phase=(body.get("status") or {}).get("phase", ""),
    )
