"""`kubectl msd support`: what helps others to understand an endpoint, in one archive.

Neither Secrets nor ConfigMaps are read. Everything else passes `redaction`.
"""

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.kube import kinds, names
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.kube.objects import Body, Key
from mistral_operator.plugin.endpoint_document import public_signals
from mistral_operator.plugin.endpoint_text import endpoint_text
from mistral_operator.plugin.hidden_parts import hidden_values, visible_names
from mistral_operator.plugin.options import LONGEST_NOTE
from mistral_operator.plugin.read_endpoint import (
    pods_of,
    read_endpoint,
    resource_of,
)
from mistral_operator.plugin.read_signals import signals_of
from mistral_operator.plugin.read_snapshot import program_version
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.redaction import (
    public_document,
    public_lines,
    public_object,
)
from mistral_operator.plugin.secret_forms import forms_of
from mistral_server.contract import public_text

_CHILDREN = (*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS)
_INSTALLATION = (names.MANAGED_BY, f"{names.MANAGED_BY}-activator")
_README = """\
What `kubectl msd support` collected about {name} in namespace {namespace}.

status.txt      what `kubectl msd status` prints
resource.yaml   the MistralSmallDeployment
children/       the objects that the operator created for it
pods/, nodes/   its pods and their nodes
events.yaml     Events about the resource and its pods
logs/           the last {lines} lines of each container, and of its previous run
signals/        what the pods report
metrics/        their metrics
operator/       the operator and the activator, with logs
versions.json   versions of this program, the API server and the operator
not-read.txt    what could not be read

Secrets and ConfigMaps are not in it. Values of environment variables and foreign annotations, and
what has the form of a secret, are replaced by [hidden]. Read it before you pass it on:
logs may have names and addresses of your own.
"""


class Collector:
    """Collects the files of an archive.

    Args:
        reader: of the cluster.
        key: of the endpoint.
        lines: maximum number of lines of each log.
        now: the time, for ages.
    """

    def __init__(self, reader: Reader, key: Key, lines: int, now: str) -> None:
        self._reader = reader
        self._key = key
        self._lines = lines
        self._now = now
        self._secrets: tuple[str, ...] = ()
        self._files: dict[str, str] = {}

    async def collect(self) -> dict[str, str]:
        """Return the files, each with its text.

        Raises:
            EndpointMissing: there is no such resource.
        """
        body = await resource_of(self._reader, self._key)
        pods = await pods_of(self._reader, self._key) or []
        installed = await self._installation()
        self._secrets = _secrets([body, *pods, *(installed or ())])
        self._add_object("resource.yaml", body, kinds.RESOURCE)
        await self._add_children()
        await self._add_events(body, pods)
        await asyncio.gather(*(self._add_pod(pod) for pod in pods))
        for deployment in installed or ():
            await self._add_installed(deployment)
        await self._add_versions(installed)
        await self._add_status()
        notes = [public_text(one, LONGEST_NOTE, self._secrets) for one in self._reader.notes]
        self._files["not-read.txt"] = "".join(f"{one}\n" for one in notes)
        self._files["README.txt"] = _README.format(**self._key._asdict(), lines=self._lines)
        return self._files

    def _add_object(self, path: str, body: Body, kind: Kind) -> None:
        identity = {"apiVersion": kind.api_version, "kind": kind.kind}
        self._files[path] = to_yaml(public_object({**identity, **body}, self._secrets))

    def _add_text(self, path: str, text: str | None) -> None:
        if text:
            self._files[path] = public_lines(text, self._secrets)

    async def _add_children(self) -> None:
        selector = names.selector_text(self._key.name)
        for kind in _CHILDREN:
            for body in await self._reader.all(kind, self._key.namespace, selector) or ():
                path = f"children/{kind.kind}-{body['metadata']['name']}.yaml"
                self._add_object(path, body, kind)

    async def _add_events(self, body: Body, pods: list[dict[str, Any]]) -> None:
        events = [
            event
            for one in (body, *pods)
            for event in await self._reader.events(self._key.namespace, one["metadata"]["uid"])
            or ()
        ]
        public = [public_object(one, self._secrets) for one in events]
        self._files["events.yaml"] = to_yaml({"items": public})

    async def _add_pod(self, pod: Body) -> None:
        name: str = pod["metadata"]["name"]
        self._add_object(f"pods/{name}.yaml", pod, kinds.POD)
        await self._add_logs(pod, f"logs/{name}")
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (body := await self._reader.get(kinds.NODE, "", node)) is not None:
            self._add_object(f"nodes/{node}.yaml", body, kinds.NODE)
        if not (pod.get("status") or {}).get("podIP"):
            return
        signal = await signals_of(self._reader, self._key.namespace, name)
        if signal is not None:
            text = json.dumps(public_document(public_signals(signal)), indent=2)
            self._files[f"signals/{name}.json"] = f"{text}\n"
        for port in (HTTP_PORT, HEALTH_PORT):
            metrics = await self._reader.text_of_pod(self._key.namespace, name, port, "metrics")
            self._add_text(f"metrics/{name}-{port}.txt", metrics)

    async def _add_logs(self, pod: Body, directory: str) -> None:
        spec, metadata = pod.get("spec") or {}, pod["metadata"]
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        for container in containers:
            for previous in (False, True):
                log = await self._reader.log(
                    metadata["namespace"],
                    metadata["name"],
                    container["name"],
                    previous=previous,
                    lines=self._lines,
                )
                suffix = ".previous.log" if previous else ".log"
                self._add_text(f"{directory}/{container['name']}{suffix}", log.text)

    async def _installation(self) -> list[dict[str, Any]] | None:
        """Return the Deployments of the installation; None if they may not be read."""
        bodies = list[dict[str, Any]]()
        for name in _INSTALLATION:
            selector = f"{names.LABEL_NAME}={name}"
            listed = await self._reader.all(kinds.DEPLOYMENT, None, selector)
            if listed is None:
                return None
            bodies += listed
        return bodies

    async def _add_installed(self, deployment: Body) -> None:
        metadata = deployment["metadata"]
        self._add_object(f"operator/{metadata['name']}.yaml", deployment, kinds.DEPLOYMENT)
        match_labels = deployment["spec"]["selector"].get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(match_labels.items()))
        pods = await self._reader.all(kinds.POD, metadata["namespace"], selector) or []
        # A webhook may have added variables that the Deployment has not.
        self._secrets = tuple({*self._secrets, *_secrets(pods)})
        for pod in pods:
            self._add_object(f"operator/{pod['metadata']['name']}.yaml", pod, kinds.POD)
            await self._add_logs(pod, f"operator/{pod['metadata']['name']}")

    async def _add_versions(self, installed: list[dict[str, Any]] | None) -> None:
        try:
            server = await self._reader.cluster.request("GET", "/version")
        except ClusterError as error:
            server = {}
            self._reader.note(f"cannot read the version of the API server: {error.reason}")
        versions = {
            "program": program_version(),
            "apiServer": server.get("gitVersion"),
            "installation": None
            if installed is None
            else {one["metadata"]["name"]: _images(one["spec"]["template"]) for one in installed},
        }
        self._files["versions.json"] = json.dumps(public_document(versions), indent=2) + "\n"

    async def _add_status(self) -> None:
        endpoint = await read_endpoint(self._reader, self._key)
        text = endpoint_text(endpoint, self._reader.notes, self._now)
        self._add_text("status.txt", text)


def _secrets(bodies: list[Any]) -> tuple[str, ...]:
    """Return what is hidden in logs: not a value that is also a name, such as `server`."""
    return forms_of({*hidden_values(bodies)} - {*visible_names(bodies)})


def _images(template: Mapping[str, Any]) -> list[str]:
    return [str(one.get("image")) for one in template["spec"].get("containers") or ()]


def write_archive(path: Path, directory: str, files: Mapping[str, str]) -> None:
    """Write files into an archive that only its owner can read.

    Raises:
        OSError: the archive cannot be written.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in sorted(files.items()):
            encoded = text.encode()
            member = tarfile.TarInfo(f"{directory}/{name}")
            member.size, member.mode = len(encoded), 0o600
            archive.addfile(member, io.BytesIO(encoded))
    _write_private(path, gzip.compress(content.getvalue(), mtime=0))


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in place of any other file or link."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # a device, such as /dev/stdout
        return
    # Of mode 0600. A file that exists would keep its own, and a link would lead elsewhere.
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()
            raise
