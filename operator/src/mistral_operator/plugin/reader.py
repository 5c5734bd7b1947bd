"""Reads the cluster with the permissions of the user, and notes what these do not allow."""

import asyncio
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.clock import now_text
from mistral_operator.kube.documents import LONGEST_TEXT, TEXT
from mistral_operator.kube.errors import ClusterError, KindMissing, Unavailable
from mistral_operator.kube.kinds import EVENT, POD, Kind
from mistral_operator.kube.transport import Object
from mistral_operator.plugin.notes import Notes

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_FORBIDDEN = 403
_NOT_FOUND = 404
_NOTHING_READABLE = {0, 401}
"""Statuses without a connection, and of wrong credentials."""
_NO_LOG = ("not found", "is waiting to start")
"""What the API server says with status 400 of a container that has no log yet, or none before."""
_BAD_REQUEST = 400
POD_SECONDS = 5.0
"""Time for a pod behind the API server to answer. A NetworkPolicy may drop what is sent to it."""
PODS_AT_ONCE = 100
"""Pods that are asked at once: one that does not answer occupies a connection for as long."""


class Found(NamedTuple):
    """What is known of an object."""

    body: Object | None
    """None if it does not exist, or could not be read."""
    unread: str = ""
    """Why it could not be read."""


class Log(NamedTuple):
    """The log of a container."""

    exists: bool | None
    """False if the container did not run (yet); None if the log could not be read."""
    text: str = ""


class Reader:
    """Reads objects and texts.

    Args:
        cluster: the API server.
        pod_seconds: time for pods to answer.
    """

    def __init__(self, cluster: Cluster, pod_seconds: float = POD_SECONDS) -> None:
        self.cluster = cluster
        self._pod_seconds = pod_seconds
        self._notes = Notes()
        self._slots = asyncio.Semaphore(PODS_AT_ONCE)
        self._silent: set[tuple[str, str, int]] = set()
        """Ports of pods that did not answer: each would take as long again."""

    @property
    def notes(self) -> list[str]:
        """What could not be read, each a sentence for the user."""
        return self._notes.texts

    def note(self, text: str) -> None:
        """Add a note, once. Others may have chosen a part of it."""
        self._notes.add(text)

    def now(self) -> str:
        """Return the time of the API server, to which all timestamps of objects are near.

        The clock of this machine may be another, and is used only if no response had a time.
        """
        try:
            return parsedate_to_datetime(self.cluster.date or "").astimezone(UTC).isoformat()
        except ValueError:
            return now_text()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, None if it does not exist or may not be read.

        Raises:
            ClusterError: the API server does not answer.
        """
        return (await self.find(kind, namespace, name)).body

    async def find(self, kind: Kind, namespace: str, name: str) -> Found:
        """Return an object, or whether it does not exist or may not be read.

        Raises:
            ClusterError: the API server does not answer.
        """
        try:
            return Found(await self.cluster.get(kind, namespace, name))
        except ClusterError as error:
            return Found(None, self._excuse(error, "get", kind, namespace))

    async def exists(self, kind: Kind, namespace: str, name: str) -> bool | None:
        """Return whether an object exists, by its metadata; None if that may not be read.

        Raises:
            ClusterError: the API server does not answer.
        """
        path = kind.path(namespace, name)
        try:
            # Of a Secret nothing but its metadata reaches this program.
            await self.cluster.request("GET", path, accept=_METADATA)
        except ClusterError as error:
            return None if self._excuse(error, "get", kind, namespace) else False
        return True

    async def all(
        self, kind: Kind, namespace: str | None = None, selector: str | None = None
    ) -> list[Object] | None:
        """Return objects, none where the kind is not installed; None if they may not be read.

        Raises:
            ClusterError: the API server does not answer.
        """
        try:
            pages = self.cluster.list_pages(kind, namespace, selector)
            return [body async for page, _ in pages for body in page]
        except KindMissing:
            return []
        except ClusterError as error:
            self._excuse(error, "list", kind, namespace)
            return None

    async def events(self, namespace: str, uid: str) -> list[Object] | None:
        """Return the Events about an object; None if they may not be read."""
        try:
            return await self.cluster.list_some(EVENT, namespace, f"involvedObject.uid={uid}")
        except ClusterError as error:
            self._excuse(error, "list", EVENT, namespace)
            return None

    async def text_of_pod(
        self, namespace: str, pod: str, port: int, path: str, until: float | None = None
    ) -> str | None:
        """Return what a pod serves at a path, by way of the API server; None if it does not.

        Args:
            namespace: of the pod.
            pod: its name.
            port: where it serves.
            path: what to read there.
            until: time of the event loop at which the answer comes too late.
        """
        if (namespace, pod, port) in self._silent:
            return None
        url = POD.path(namespace, f"{pod}:{port}", f"proxy/{path}")
        async with self._slots:
            now = asyncio.get_running_loop().time()
            if until is not None and until <= now:
                self._notes.add_unasked(pod)
                return None
            latest = now + self._pod_seconds
            try:
                async with asyncio.timeout_at(latest if until is None else min(until, latest)):
                    answer = await self.cluster.request("GET", url, accept="*/*", decode=TEXT)
            except TimeoutError:
                self._silent.add((namespace, pod, port))
                self._notes.add_silent(pod, port)
            except ClusterError as error:
                if error.status == _FORBIDDEN:
                    self.note(sentence("get", "pods/proxy", namespace, error))
                else:
                    self.note(f"pod {pod} does not answer at port {port}: {error.reason}")
            else:
                return str(answer["text"])
        return None

    def latest_answer(self) -> float:
        """Return the time of the event loop until which pods that are asked now may answer."""
        return asyncio.get_running_loop().time() + self._pod_seconds

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> Log:
        """Return the end of a log; -1 lines are all."""
        query = {"container": container, "timestamps": "true", "limitBytes": str(LONGEST_TEXT)}
        if lines >= 0:
            query["tailLines"] = str(lines)
        if previous:
            query["previous"] = "true"
        try:
            answer = await self.cluster.request(
                "GET", POD.path(namespace, pod, "log"), query, accept="*/*", decode=TEXT
            )
        except ClusterError as error:
            return Log(self.excuse_log(error, namespace, f"{pod}/{container}"))
        text = str(answer["text"])
        if len(text.encode()) >= LONGEST_TEXT:
            self.note(
                f"the log of {pod}/{container} is longer than {LONGEST_TEXT >> 20} MiB, and its end"
                " is cut: request fewer lines"
            )
        return Log(True, text)

    def excuse_log(self, error: ClusterError, namespace: str, log: str) -> bool | None:
        """Note why a log cannot be read; return False if there is none, and else None."""
        if error.status == _NOT_FOUND or _has_no_log(error):
            return False
        if error.status == _FORBIDDEN:
            self.note(sentence("get", "pods/log", namespace, error))
        else:
            self.note(f"cannot read the log of {log}: {error.reason}")
        return None

    def _excuse(self, error: ClusterError, verb: str, kind: Kind, namespace: str | None) -> str:
        """Note what cannot be read, and return it; nothing of what does not exist.

        One kind may fail alone, as by its conversion webhook.

        Raises:
            ClusterError: nothing can be read: no connection, or wrong credentials.
        """
        if error.status in _NOTHING_READABLE:
            raise error
        if error.status == _NOT_FOUND and not isinstance(error, Unavailable):
            return ""
        text = sentence(verb, name_of_kind(kind), namespace if kind.namespaced else None, error)
        self.note(text)
        return text


def _has_no_log(error: ClusterError) -> bool:
    return error.status == _BAD_REQUEST and any(one in error.reason for one in _NO_LOG)


def name_of_kind(kind: Kind) -> str:
    """Return the resource of a kind as RBAC and kubectl name it, such as deployments.apps."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def sentence(verb: str, resource: str, namespace: str | None, error: ClusterError) -> str:
    """Return what a user cannot do, and why."""
    where = f" in namespace {namespace}" if namespace else ""
    forbidden = error.status == _FORBIDDEN
    reason = "ask an administrator to allow it" if forbidden else error.reason
    return f"cannot {verb} {resource}{where}: {reason}"
