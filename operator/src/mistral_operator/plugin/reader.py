"""Reads the cluster with the permissions of the user, and notes what these do not allow."""

import asyncio
from datetime import UTC
from email.utils import parsedate_to_datetime

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.clock import now_text
from mistral_operator.kube.documents import LONGEST_TEXT, TEXT
from mistral_operator.kube.errors import ClusterError, KindMissing, Unavailable
from mistral_operator.kube.kinds import EVENT, POD, Kind
from mistral_operator.kube.transport import Object
from mistral_server.contract import public_text

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_FORBIDDEN = 403
_NOT_FOUND = 404
_NOTHING_READABLE = {0, 401}
"""Statuses without a connection, and of wrong credentials."""
_NO_LOG = ("not found", "is waiting to start")
"""What the API server says with status 400 of a container that has no log yet, or none before."""
_BAD_REQUEST = 400
_LONGEST_NOTE = 4096
"""Characters of a note. Texts for users cut it further once known secrets are taken out."""
_POD_SECONDS = 5.0
"""Time for a pod behind the API server to answer. A NetworkPolicy may drop what is sent to it."""


class Reader:
    """Reads objects and texts.

    Args:
        cluster: the API server.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.notes: list[str] = []
        """What could not be read, each a sentence for the user."""
        self._silent: set[tuple[str, str, int]] = set()
        """Ports of pods that did not answer: each would take as long again."""

    def note(self, text: str) -> None:
        """Add a note, once. Others may have chosen a part of it."""
        public = public_text(text, _LONGEST_NOTE)
        if public not in self.notes:
            self.notes.append(public)

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
        try:
            return await self.cluster.get(kind, namespace, name)
        except ClusterError as error:
            self._excuse(error, "get", kind, namespace)
            return None

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
            if error.status == _NOT_FOUND and not isinstance(error, Unavailable):
                return False
            self._excuse(error, "get", kind, namespace)
            return None
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

    async def events(self, namespace: str, uid: str) -> list[Object]:
        """Return the Events about an object."""
        try:
            return await self.cluster.list_some(EVENT, namespace, f"involvedObject.uid={uid}")
        except ClusterError as error:
            self._excuse(error, "list", EVENT, namespace)
            return []

    async def text_of_pod(self, namespace: str, pod: str, port: int, path: str) -> str | None:
        """Return what a pod serves at a path, by way of the API server; None if it does not."""
        if (namespace, pod, port) in self._silent:
            return None
        url = POD.path(namespace, f"{pod}:{port}", f"proxy/{path}")
        try:
            async with asyncio.timeout(_POD_SECONDS):
                answer = await self.cluster.request("GET", url, accept="*/*", decode=TEXT)
        except TimeoutError:
            self._silent.add((namespace, pod, port))
            self.note(
                f"pod {pod} does not answer at port {port} by way of the API server: a"
                " NetworkPolicy may not allow it"
            )
        except ClusterError as error:
            if error.status == _FORBIDDEN:
                self.note(_sentence("get", "pods/proxy", namespace, error))
            else:
                self.note(f"pod {pod} does not answer at port {port}: {error.reason}")
        else:
            return str(answer["text"])
        return None

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> str | None:
        """Return the end of a log, None if there is none or it cannot be read; -1 lines are all."""
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
            if error.status == _FORBIDDEN:
                self.note(_sentence("get", "pods/log", namespace, error))
            elif error.status != _NOT_FOUND and not _has_no_log(error):
                self.note(f"cannot read the log of {pod}/{container}: {error.reason}")
            return None
        text = str(answer["text"])
        if len(text.encode()) >= LONGEST_TEXT:
            self.note(
                f"the log of {pod}/{container} is longer than {LONGEST_TEXT >> 20} MiB, and its end"
                " is cut: request fewer lines"
            )
        return text

    def _excuse(self, error: ClusterError, verb: str, kind: Kind, namespace: str | None) -> None:
        """Note what cannot be read. One kind may fail alone, as by its conversion webhook.

        Raises:
            ClusterError: nothing can be read: no connection, or wrong credentials.
        """
        if error.status in _NOTHING_READABLE:
            raise error
        if error.status == _NOT_FOUND and not isinstance(error, Unavailable):
            return
        name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        where = namespace if kind.namespaced else None
        self.note(_sentence(verb, name, where, error))


def _has_no_log(error: ClusterError) -> bool:
    return error.status == _BAD_REQUEST and any(one in error.reason for one in _NO_LOG)


def _sentence(verb: str, resource: str, namespace: str | None, error: ClusterError) -> str:
    where = f" in namespace {namespace}" if namespace else ""
    forbidden = error.status == _FORBIDDEN
    reason = "ask an administrator to allow it" if forbidden else error.reason
    return f"cannot {verb} {resource}{where}: {reason}"
