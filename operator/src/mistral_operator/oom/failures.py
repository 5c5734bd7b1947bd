"""Why did a container exit? The server's own report, else what the kubelet says, else its log.

The log is what the kubelet put into the termination message of a server that left no report: its
last 2 KiB. That is enough, since the server reads the whole log and reports the cause itself unless
it is killed; and so the operator needs no right to read logs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mistral_operator.api.fields import with_field_names
from mistral_operator.kube import names
from mistral_operator.watch.facts import ContainerFacts, ExitFacts, PodFacts
from mistral_server.contract import (
    PHASE_OF_STAGE,
    FailureClass,
    Phase,
    Stage,
    TerminationReport,
    printable,
)
from mistral_server.engine_log.classify import ADVICE, Classification, Classifier

_OLD_NAMES = {"contextLength": "engine.context_length"}
"""Servers of the first images named the resource's field."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure of a container, explained."""

    identity: str
    pod: str
    configuration: str
    """Digest of the settings that the pod had."""
    failure: FailureClass
    phase: str = ""
    evidence: str = ""
    time: str = ""
    suggest: dict[str, int] = field(default_factory=dict)
    """Values that the engine says would work, by the name of the server's setting."""


def failures_of(pods: Iterable[PodFacts]) -> list[Failure]:
    """Return the explained failures of pods, the oldest first.

    Exits without a known cause are left out, such as that of a pod that was stopped.
    """
    failures = [one for pod in pods for one in _of_pod(pod)]
    return sorted(failures, key=lambda one: (one.time, one.pod, one.identity))


def _of_pod(pod: PodFacts) -> Iterator[Failure]:
    if (evicted := _of_eviction(pod)) is not None:
        yield evicted
    for container in (one for one in pod.containers if one.ours):
        for end in container.exits:
            if end.exit_code != 0 and (failure := _of_end(pod, container, end)) is not None:
                yield failure


def _of_eviction(pod: PodFacts) -> Failure | None:
    """Return what the kubelet's reason for evicting a pod means."""
    text = pod.evicted
    if "low on resource: memory" in text:
        failure = FailureClass.HOST_OOM
    elif "EmptyDir volume" in text and "shm" in text and "exceeds" in text:
        failure = FailureClass.SHM_EXHAUSTED
    else:
        return None
    return Failure(
        f"{pod.uid[-12:]}", pod.name, pod.configuration, failure, Phase.SERVING, text[:400]
    )


def _of_end(pod: PodFacts, container: ContainerFacts, end: ExitFacts) -> Failure | None:
    report = end.report
    if report is not None and isinstance(report.failure, FailureClass):
        failure, phase = report.failure, report.phase or _phase_of(report.stage)
        evidence, suggest = report.evidence or with_field_names(report.message), _suggested(report)
    elif end.reason == "OOMKilled":
        failure, phase, suggest = FailureClass.HOST_OOM, "", {}
        evidence = f"container {container.name} ran out of memory and was killed (OOMKilled)"
    elif report is not None:
        return None
    elif container.name == names.CONTAINER and (verdict := _classified(end.message)) is not None:
        failure, phase = verdict.failure, verdict.phase
        evidence, suggest = printable(verdict.evidence), verdict.suggestions
    else:
        return None
    return Failure(
        end.identity, pod.name, pod.configuration, failure, phase, evidence, end.finished, suggest
    )


def _suggested(report: TerminationReport) -> dict[str, int]:
    """Return what the engine suggests, by the names that settings have today."""
    positive = {name: value for name, value in report.suggest.items() if value > 0}
    return {_OLD_NAMES.get(name, name): value for name, value in positive.items()}


def _phase_of(stage: Stage | str) -> str:
    """Return the phase that goes with a stage; the stage itself if its version is not known."""
    return PHASE_OF_STAGE.get(stage, stage) if isinstance(stage, Stage) else stage


def _classified(log: str) -> Classification | None:
    classifier = Classifier()
    for line in log.splitlines():
        classifier.read(line)
    return classifier.classification()


def advice(failure: str) -> str:
    """Return what a user can do about a class."""
    sentences = {one.value: sentence for one, sentence in ADVICE.items()}
    sentence = sentences.get(failure, "See docs/status.md for the remedy.")
    return with_field_names(sentence)
