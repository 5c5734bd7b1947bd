"""Which runs of containers have a log. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mistral_operator.kube.objects import Body


class Run(NamedTuple):
    """One run of a container: it has one log."""

    pod: str
    container: str
    uid: str
    """Of the pod: another one may get its name."""
    number: int
    """How often the container was started before."""

    @property
    def log(self) -> str:
        """Name of the log, as it is in front of its lines."""
        return f"{self.pod}/{self.container}"

    @property
    def source(self) -> tuple[str, str]:
        """The container, whose later runs write later lines."""
        return self.uid, self.container


def runs(pods: Iterable[Body]) -> dict[Run, bool]:
    """Return the last run of each container that was started, and whether it goes on."""
    return {run: running for pod in pods for run, running in _of_pod(pod)}


def _of_pod(pod: Body) -> Iterator[tuple[Run, bool]]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            states = {*(container.get("state") or {}), *(container.get("lastState") or {})}
            if states <= {"waiting"}:
                continue
            number = int(container.get("restartCount") or 0)
            run = Run(metadata["name"], container["name"], metadata["uid"], number)
            yield run, "running" in (container.get("state") or {})
