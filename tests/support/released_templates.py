"""Pod templates as the last release rendered them: a change restarts every pod on upgrade.

`tests/golden/released/VERSION` has one file for each golden case: the resource, and the selector
and the pod template of its Deployment. `pytest tests/golden --record-release` writes the folder of
a new release; nothing overwrites one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from golden_cases import GOLDEN, IMAGE, Case, cases
from mistral_operator.api import parse_resource
from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.kube import names
from mistral_operator.render import RenderContext, children

RELEASED = GOLDEN / "released"
ACCEPTED = RELEASED / "accepted.yaml"

_PARTS = ("selector", "template")
"""Parts of a Deployment that restart its pods when they change."""


class AlreadyRecorded(Exception):
    """A release has a folder."""


@dataclass(frozen=True)
class Accepted:
    """A difference that was accepted, although it restarts pods."""

    path: str
    changelog: str
    """The sentence of CHANGELOG.md about it."""


@dataclass(frozen=True)
class Released:
    """What the last release left of one resource, in a namespace of its own."""

    namespace: str
    case: Case
    """The resource as it was recorded."""
    recorded: Mapping[str, Any]
    image: str = IMAGE
    """Image of the server where the resource names none."""

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.case.name

    def namespace_object(self) -> dict[str, Any]:
        """Return the namespace."""
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}

    def resource(self) -> dict[str, Any]:
        """Return the resource as its user wrote it."""
        metadata = {"name": self.case.body["metadata"]["name"], "namespace": self.namespace}
        return {**self.case.body, "metadata": metadata}

    def deployment(self, uid: str) -> dict[str, Any]:
        """Return the Deployment of the resource with this uid, as the release applied it."""
        metadata = {**self.resource()["metadata"], "uid": uid, "generation": 1}
        case = replace(self.case, body={**self.case.body, "metadata": metadata})
        (today,) = [one for one in case.children() if one["kind"] == "Deployment"]
        spec = {**today["spec"], **{part: self.recorded[part] for part in _PARTS}}
        annotations = {**today["metadata"]["annotations"], names.ANNOTATION_APPLIED: "older"}
        return {**today, "metadata": today["metadata"] | {"annotations": annotations}, "spec": spec}


def released(folder: Path | None = None) -> list[Released]:
    """Return what the last release left, of each of its cases that needs nothing else."""
    files = {file.stem: file for file in sorted((folder or newest()).glob("*.yaml"))}
    recorded = {name: yaml.safe_load(file.read_text()) for name, file in files.items()}
    return [
        Released(f"released-{name}", replace(cases()[name], body=one["resource"]), one)
        for name, one in recorded.items()
        if cases()[name].context == RenderContext(IMAGE) and cases()[name].activation is None
    ]


def record(folder: Path, cases: Iterable[Case]) -> None:
    """Write what a release renders.

    Raises:
        AlreadyRecorded: the folder exists.
    """
    if folder.exists():
        raise AlreadyRecorded(f"{folder} exists: a release does not change afterwards")
    folder.mkdir(parents=True)
    for case in cases:
        content = {"resource": case.body, **restarting(case)}
        (folder / f"{case.name}.yaml").write_text(to_yaml(content))


def restarting(case: Case) -> dict[str, Any]:
    """Return what of a rendered resource restarts its pods when it changes."""
    rendered = children(parse_resource(case.body), case.context, case.activation)
    (spec,) = [one["spec"] for one in rendered if one["kind"] == "Deployment"]
    return {"selector": spec["selector"], "template": spec["template"]}


def newest(folder: Path = RELEASED) -> Path:
    """Return the folder of the last release."""
    versions = [one for one in folder.iterdir() if one.is_dir()]
    return max(versions, key=lambda one: [int(part) for part in one.name.split(".")])


def accepted(file: Path = ACCEPTED) -> list[Accepted]:
    """Return the accepted differences."""
    return [Accepted(**one) for one in yaml.safe_load(file.read_text())]


def differences(recorded: Mapping[str, Any], today: Mapping[str, Any]) -> list[str]:
    """Return the paths at which a rendered resource differs from the recorded one."""
    return [path for one in _PARTS for path in _differences(f"/{one}", recorded[one], today[one])]


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            escaped = key.replace("~", "~0").replace("/", "~1")
            yield from _differences(f"{path}/{escaped}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{path}/{index}", one, other)
    elif before != after:
        yield path
