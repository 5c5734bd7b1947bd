"""What a pod's state means, in words that name cause and remedy."""

import re
from collections.abc import Iterator

from mistral_operator.api import ConditionType, Reason
from mistral_operator.kube import names
from mistral_operator.status.cache import is_on_one_node
from mistral_operator.status.fetch import progress_text
from mistral_operator.status.scheduling import not_scheduled_yet, unschedulable
from mistral_operator.status.server_reports import report_message
from mistral_operator.status.status_input import StatusInput
from mistral_operator.status.verdict import Outlook, Verdict, stuck, waiting
from mistral_operator.watch.facts import ContainerFacts, PodFacts
from mistral_server.contract import SignalDocument, Stage

_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

_NO_DIRECTORY = "failed to create subPath directory"
"""What the kubelet says if the claim is full or read-only; only compiled code has a subPath."""

_STAGE_WORDS: dict[Stage | str, str] = {
    Stage.STARTING: "the engine is starting",
    Stage.LOADING: "the engine is loading the weights",
    Stage.PROFILING: "the engine is profiling its memory",
    Stage.WARMING_UP: "the engine is warming up",
    Stage.CANARY: "the server is sending a first test chat",
    Stage.SERVING: "the server answers, and the pod is becoming ready",
    Stage.DRAINING: "the server is finishing the running requests",
}

_KILLED = {128 + 9, 128 + 15}
"""Exit codes after SIGKILL and SIGTERM."""

_NO_STAGE = "the server is running and does not report its stage"


def worst_pod(status_input: StatusInput) -> Verdict | None:
    """Return the verdict on the replica that needs most attention."""
    return worst_of(status_input, status_input.observed.pods)


def worst_of(status_input: StatusInput, pods: tuple[PodFacts, ...]) -> Verdict | None:
    """Return the verdict on the pod that needs most attention, of some pods."""
    verdicts = list(_verdicts(status_input, pods))
    hopeless = [one for one in verdicts if one.outlook is Outlook.STUCK]
    return next(iter(hopeless or verdicts), None)


def _verdicts(status_input: StatusInput, pods: tuple[PodFacts, ...]) -> Iterator[Verdict]:
    for pod in _present(pods):
        if pod.ready and not pod.prefetches:
            continue
        answer = _verdict(status_input, pod)
        if answer is not None:
            yield Verdict(answer.reason, f"pod {pod.name}: {answer.message}", answer.outlook)


def _present(pods: tuple[PodFacts, ...]) -> list[PodFacts]:
    """Leave out pods that are going, and dead ones whose successor is there.

    A pod that was evicted stays in the cluster, for weeks if it is the only one.
    """
    staying = [pod for pod in pods if not pod.terminating]
    return [pod for pod in staying if not pod.evicted] or staying


def _verdict(status_input: StatusInput, pod: PodFacts) -> Verdict | None:
    if pod.gates or pod.scheduler:
        return not_scheduled_yet(pod)
    if pod.unschedulable:
        return unschedulable(status_input, pod)
    if pod.evicted:
        return stuck(Reason.SERVER_FAILED, f"the pod failed: {pod.evicted}")
    for container in pod.containers:
        answer = _container_verdict(status_input, pod, container)
        if answer is not None:
            return answer
    return _foreign_exit(pod) or _server_verdict(status_input, pod)


def _container_verdict(
    status_input: StatusInput, pod: PodFacts, container: ContainerFacts
) -> Verdict | None:
    if not container.ours:
        return _foreign_verdict(container)
    reason, message = container.waiting_reason, container.waiting_message
    if container.cannot_pull:
        return stuck(
            Reason.IMAGE_UNAVAILABLE,
            f"the image cannot be pulled: check {_image_field(status_input, message)}, and"
            " spec.pod.imagePullSecrets for a private registry. The kubelet reports:"
            f" {reason}: {message}",
        )
    if reason in _CONFIG_REASONS:
        return _not_creatable(message or reason)
    if container.name == names.FETCH_CONTAINER:
        return _fetch_verdict(status_input, pod, container)
    if container.exit_code is not None and not container.started:
        return stuck(Reason.SERVER_FAILED, _last_end(container))
    return None


def _not_creatable(message: str) -> Verdict:
    """Return why the kubelet cannot create a container."""
    reported = f"The kubelet reports: {message}"
    if _NO_DIRECTORY in message:
        return stuck(
            Reason.POD_NOT_SET_UP,
            "no directory for compiled code can be created on the claim of the cache: free space on"
            f" it or make it writable, or set spec.cache.compiled to Discard. {reported}",
        )
    return stuck(
        Reason.CONFIG_MISSING,
        "the container cannot be created: create the missing object, or correct the reference"
        f" in the resource. {reported}",
    )


def _foreign(container: ContainerFacts) -> str:
    return f"container {container.name}, which something else adds to the pods,"


def _foreign_verdict(container: ContainerFacts) -> Verdict | None:
    """Return why a container that is not ours cannot be created."""
    reason, message = container.waiting_reason, container.waiting_message
    if container.cannot_pull:
        return stuck(
            Reason.IMAGE_UNAVAILABLE,
            f"the image of {_foreign(container)} cannot be pulled: correct what adds it. The"
            f" kubelet reports: {reason}: {message}",
        )
    if reason in _CONFIG_REASONS:
        return stuck(
            Reason.CONFIG_MISSING,
            f"{_foreign(container)} cannot be created: correct what adds it. The kubelet reports:"
            f" {message or reason}",
        )
    return None


def _foreign_exit(pod: PodFacts) -> Verdict | None:
    """Return the failure of a container that is not ours and keeps the server from running.

    What completed, or failed beside the server, is no failure of the server.
    """
    server = pod.container(names.CONTAINER)
    if server is not None and (server.running or server.exit_code is not None):
        return None
    # One that failed and runs again is not ready before it is known to do better.
    failed = next((one for one in _unready_foreign(pod) if one.exit_code), None)
    if failed is None:
        return None
    return stuck(
        Reason.SERVER_FAILED,
        f"{_foreign(failed)} exited before the server could start: correct what adds it."
        f" {_last_end(failed)}",
    )


def _unready_foreign(pod: PodFacts) -> Iterator[ContainerFacts]:
    """Yield the containers that are not ours and are neither ready nor completed."""
    return (one for one in pod.containers if not (one.ours or one.ready))


def _image_field(status_input: StatusInput, message: str) -> str:
    """Return the field with the image that a message names; of two, both if it names neither."""
    spec = status_input.resource.spec
    model = spec.model.source.image
    if model is None:
        return "spec.image"
    images = {
        spec.image or status_input.server_image: "spec.image",
        model.reference: "spec.model.source.image.reference",
    }
    named = [image for image in images if image and image in message]
    # A reference may begin with the other one.
    return images[max(named, key=len)] if named else " and ".join(images.values())


def _fetch_verdict(
    status_input: StatusInput, pod: PodFacts, container: ContainerFacts
) -> Verdict | None:
    first = container.restarts == 0
    killed = _was_killed(container) and (container.running or first)
    if killed or (container.running and first):
        text = progress_text(status_input.observed.signal(pod))
        so_far = f": {text}" if text else ""
        again = " again, since the first fetch was killed" if killed else ""
        return waiting(Reason.FETCHING, f"the model is being fetched from the hub{again}{so_far}")
    if container.exit_code:
        message = _last_end(container)
        if status_input.resource.spec.cache is not None:
            message = message.replace("increase its size", "increase spec.cache.size")
        return stuck(Reason.FETCH_FAILED, message)
    return None


def _was_killed(container: ContainerFacts) -> bool:
    """Tell whether the last run was killed from outside, which tells nothing about the next one."""
    return (
        container.exit_code in _KILLED
        and container.report is None
        and container.exit_reason != "OOMKilled"
    )


def _last_end(container: ContainerFacts) -> str:
    """Say how a container exited, with the server's own report where it left one."""
    report = container.report
    times = f" (restarted {container.restarts} times)" if container.restarts > 1 else ""
    if report is not None:
        cause = (
            report.failure or f"{container.exit_reason or 'Error'}, exit code {container.exit_code}"
        )
        message = f": {report_message(report)}" if report.message else ""
        evidence = f" Evidence: {report.evidence}" if report.evidence else ""
        return f"{cause}{times}{message}{evidence}"
    quoted = container.exit_message.strip().splitlines()
    last = f": {quoted[-1]}" if quoted else ""
    cause = container.exit_reason or "Error"
    return f"{cause}, exit code {container.exit_code}{times}{last}"


def _server_verdict(status_input: StatusInput, pod: PodFacts) -> Verdict | None:
    container = pod.container(names.CONTAINER)
    if (failure := _not_set_up(status_input, pod)) is not None:
        return failure
    unready = next(_unready_foreign(pod), None)
    if container is None or not container.running:
        return waiting(Reason.CREATING, _not_created(status_input, pod))
    if container.ready and unready is not None:
        return waiting(
            Reason.NOT_READY,
            f"the server is ready, but {_foreign(unready)} is not: correct what adds it",
        )
    signal = status_input.observed.signal(pod)
    if signal is not None and signal.fetch is not None:
        signal = None  # of the init container, and the server has not been polled yet
    reason = Reason.NOT_READY if container.started else Reason.STARTING
    return waiting(reason, _stage(status_input, reason, pod, signal))


def _not_set_up(status_input: StatusInput, pod: PodFacts) -> Verdict | None:
    """Return what keeps the kubelet from creating containers, which only Events say."""
    events = status_input.events(pod)
    if not events.failure:
        return None
    reported = f"Kubernetes reports: {events.failure}: {events.message}"
    if not events.lasting:
        return waiting(Reason.CREATING, f"the pod's containers are being created. {reported}")
    if events.failure == "FailedMount" and _ABSENT.search(events.message):
        return stuck(
            Reason.CONFIG_MISSING,
            "a volume cannot be mounted: create the missing object or key, or correct the reference"
            f" in the resource, such as in spec.pod.volumes. {reported}",
        )
    what = (
        "a volume cannot be mounted" if events.failure in _MOUNTS else "the node cannot set it up"
    )
    return stuck(
        Reason.POD_NOT_SET_UP,
        f"{what}: correct what the message names, in spec.pod or on the node"
        f"{_one_node(status_input)}. {reported}",
    )


_ABSENT = re.compile(r'(secret|configmap) "[^"]*" not found|references non-existent')
"""What the kubelet says of a Secret, a ConfigMap or a key that does not exist."""
_MOUNTS = {"FailedAttachVolume", "FailedMapVolume", "FailedMount"}


def _not_created(status_input: StatusInput, pod: PodFacts) -> str:
    """Return what the server's container waits for."""
    first = next((one for one in _unready_foreign(pod) if one.running), None)
    if first is not None:
        return f"the server waits for {_foreign(first)} which is running"
    return f"the pod's containers are being created{_one_node(status_input)}"


def _one_node(status_input: StatusInput) -> str:
    """Return why a replica may have to wait for another one to go, empty if it need not."""
    claim, facts = status_input.observed.claim, status_input.observed.deployment
    if claim is None or not is_on_one_node(claim) or facts is None or facts.replicas < 2:
        return ""
    return (
        f". If this takes long: PersistentVolumeClaim {claim.name} is ReadWriteOnce, and only pods"
        " on the node of its volume can use it"
    )


def _stage(
    status_input: StatusInput, reason: Reason, pod: PodFacts, signal: SignalDocument | None
) -> str:
    if signal is not None:
        unknown = f"the server is in stage {signal.stage}" if signal.stage else _NO_STAGE
        return _STAGE_WORDS.get(signal.stage, unknown)
    previous = status_input.previous_condition(ConditionType.READY)
    prefix = f"pod {pod.name}: "
    if previous is not None and previous.reason == reason and previous.message.startswith(prefix):
        # An operator that has just started has not polled the pod yet: its last report is kept.
        return previous.message.removeprefix(prefix)
    return "the server is starting" if reason is Reason.STARTING else "the server is not ready"
