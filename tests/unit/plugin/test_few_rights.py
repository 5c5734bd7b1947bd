"""What each command says to a user without one of the rights that it uses.

It names what could not be read or done, claims nothing that it does not know, and fails if it
missed its purpose.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import Result

from builders import NAME, NAMESPACE, merged, ready_pod, signal
from fake_api_server import FakeApiServer, Write
from fake_objects import ApiError
from mistral_operator.kube import kinds, names
from mistral_operator.kube.clock import now_text
from mistral_operator.plugin.commands import msd
from plugin_cluster import deployment, healthy, serving
from plugin_commands import forbidden, right_of, run

POD = f"/api/v1/namespaces/{NAMESPACE}/pods/small-1"
ALLOW = "ask an administrator to allow it"
RUNNING = {"spec": {"replicas": 1, "template": {"metadata": {"annotations": {"a": "b"}}}}}
RESOURCES = f"{names.PLURAL}.{names.GROUP}"


def cluster(without: str | None = None) -> FakeApiServer:
    """Return an API server with an endpoint and all that the commands read.

    Args:
        without: what the user may not read, or with a verb in front what may not be changed.
    """
    objects = healthy(now_text())
    pod = merged(ready_pod(), {"spec": {"nodeName": "gpu-0", "containers": [{"name": "server"}]}})
    objects["pod"] = kinds.POD, pod
    child = deployment(NAME, NAMESPACE, **names.labels(NAME))
    objects["child"] = kinds.DEPLOYMENT, merged(child, RUNNING)
    server = serving(objects)
    server.texts = {
        f"{POD}:8001/proxy/signals": signal(running=7).model_dump_json(),
        f"{POD}:8001/proxy/metrics": "a 1",
        f"{POD}:8000/proxy/metrics": "b 1",
        f"{POD}/log": "2026-03-01T11:00:00Z serving\n",
    }

    def reject(path: str) -> ApiError | None:
        return forbidden("get", without) if without and right_of(path) == without else None

    async def reject_write(write: Write) -> None:
        if without == f"{write.verb} {write.kind}":
            raise forbidden(write.verb, without)

    server.before_read = reject
    server.before_write = reject_write
    return server


class Report(NamedTuple):
    """What a command does without a right."""

    fails: bool
    note: str
    """A part of what it prints."""
    unknown: str = "\0"
    """What it must not claim."""


NO_RESOURCE = Report(fails=True, note=f"cannot get {RESOURCES} in namespace models: {ALLOW}")
NO_LIST = f"cannot list {{}} in namespace models: {ALLOW}".format


def _some(note: str, unknown: str = "\0") -> Report:
    return Report(fails=False, note=note, unknown=unknown)


def _checked(resource: str, *, verb: str = "list") -> Report:
    """Return what `doctor` says of a kind that it does not check."""
    return _some(f"cannot {verb} {resource}", unknown="no problems found\n")


TABLE: dict[str, dict[str, Report]] = {
    "status small": {
        "mistralsmalldeployments": NO_RESOURCE,
        "pods": _some(NO_LIST("pods")),
        "nodes": _some(f"cannot get nodes: {ALLOW}"),
        "events": _some(NO_LIST("events")),
        "pods/proxy": _some("cannot get pods/proxy in namespace models"),
        "endpointslices": _some(
            "cannot get endpointslices.discovery.k8s.io in namespace models",
            unknown="is not on the request path",
        ),
    },
    "top small --seconds 1": {
        "mistralsmalldeployments": NO_RESOURCE,
        "pods": Report(fails=True, note=NO_LIST("pods"), unknown="no replica runs"),
        "pods/proxy": Report(
            fails=True,
            note="cannot get pods/proxy in namespace models",
            unknown="not reported",
        ),
    },
    "logs small": {
        "mistralsmalldeployments": NO_RESOURCE,
        "pods": Report(fails=True, note=NO_LIST("pods"), unknown="no container has a log"),
        "pods/log": Report(
            fails=True,
            note="cannot get pods/log in namespace models",
            unknown="no container has a log",
        ),
    },
    "restart small": {
        "mistralsmalldeployments": NO_RESOURCE,
        "deployments": Report(
            fails=True,
            note=f"cannot get deployments.apps in namespace models: {ALLOW}",
            unknown="has no Deployment",
        ),
        "patch Deployment": Report(
            fails=True,
            note=f"cannot patch deployments.apps in namespace models: {ALLOW}",
            unknown="are replaced",
        ),
    },
    "suspend small": {
        "mistralsmalldeployments": NO_RESOURCE,
        "patch MistralSmallDeployment": Report(
            fails=True,
            note=f"cannot patch {RESOURCES} in namespace models: {ALLOW}",
            unknown="spec.suspend is",
        ),
    },
    "fit": {"nodes": Report(fails=True, note=f"cannot list nodes: {ALLOW}", unknown="no node")},
    "support small -o FILE": {
        "mistralsmalldeployments": NO_RESOURCE,
        "pods": _some(NO_LIST("pods")),
        "pods/log": _some("cannot get pods/log in namespace models"),
        "pods/proxy": _some("cannot get pods/proxy in namespace models"),
        "nodes": _some(f"cannot get nodes: {ALLOW}"),
        "events": _some(NO_LIST("events")),
        **{
            plural: _some(f"cannot list {plural}")
            for plural in (
                *("services", "serviceaccounts", "persistentvolumeclaims"),
                *("deployments", "daemonsets"),
            )
        },
        **{
            plural: _some(f"cannot list {plural}.{group}")
            for plural, group in (
                ("poddisruptionbudgets", "policy"),
                ("networkpolicies", "networking.k8s.io"),
                ("endpointslices", "discovery.k8s.io"),
                ("jobs", "batch"),
                ("podmonitors", "monitoring.coreos.com"),
                ("scaledobjects", "keda.sh"),
            )
        },
    },
    "doctor": {
        "mistralsmalldeployments": Report(
            fails=True,
            note="the endpoints of namespace models could not be read",
            unknown="no problems found\n",
        ),
        **{
            plural: _checked(plural)
            for plural in (
                "nodes",
                "deployments.apps",
                "storageclasses.storage.k8s.io",
                "customresourcedefinitions.apiextensions.k8s.io",
                "resourcequotas",
                "limitranges",
                "networkpolicies.networking.k8s.io",
                "podmonitors.monitoring.coreos.com",
                "validatingwebhookconfigurations.admissionregistration.k8s.io",
                "mutatingwebhookconfigurations.admissionregistration.k8s.io",
                "prometheuses.monitoring.coreos.com",
                "prometheusagents.monitoring.coreos.com",
                "vmagents.operator.victoriametrics.com",
            )
        },
        **{
            plural: _checked(plural, verb="get")
            for plural in ("namespaces", "leases.coordination.k8s.io", "secrets", "services")
        },
    },
}
"""For each command: what it says without each of its rights."""


ELSEWHERE = {"chat", "resume", "lint", "sleep", "wake"}
"""Commands with tests of their own in test_chat_at_zero.py and test_actions.py, and those without a
cluster."""


def test_the_table_has_every_command() -> None:
    assert {command.split()[0] for command in TABLE} == {*msd.commands} - ELSEWHERE


def _plural(right: str) -> str:
    return right.partition(".")[0]


def result_of(command: str, directory: Path, server: FakeApiServer) -> Result:
    """Run a command."""
    arguments = command.replace("FILE", str(directory / "small.tar.gz")).split()
    return run(server, directory, *arguments)


CASES = [
    pytest.param(command, right, report, id=f"{command.split()[0]}-{right}")
    for command, rights in TABLE.items()
    for right, report in rights.items()
]


@pytest.mark.parametrize(("command", "right", "report"), CASES)
def test_what_a_command_may_not_do_is_said(
    command: str, right: str, report: Report, tmp_path: Path
) -> None:
    server = cluster(right if " " in right else _plural(right))

    result = result_of(command, tmp_path, server)

    assert result.exit_code == int(report.fails), result.output
    assert report.note in " ".join(result.output.split())
    assert report.unknown not in result.output


@pytest.mark.parametrize("command", TABLE)
def test_with_all_rights_nothing_is_left_out(command: str, tmp_path: Path) -> None:
    server, used = cluster(), set[str]()

    def note(path: str) -> None:
        right = right_of(path)
        if right is not None:
            used.add(right)

    server.before_read = note
    result = result_of(command, tmp_path, server)

    used |= {f"{write.verb} {write.kind}" for write in server.writes}
    assert result.exit_code == 0, result.output
    assert "cannot" not in result.output
    assert used == {one if " " in one else _plural(one) for one in TABLE[command]}
