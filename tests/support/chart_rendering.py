"""Render the chart with the project's own helm; for tests/chart and tests/cluster."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mistral_dev import tools
from mistral_dev.generate import CHART as CHART_IN_CHECKOUT
from mistral_dev.paths import CHECKOUT

CHART = CHECKOUT / CHART_IN_CHECKOUT
RELEASE = "mistral-small-operator"
NAMESPACE = "mistral-system"
KUBERNETES = next(one.version() for one in tools.TOOLSETS if one.name == "kubernetes")
"""Without it, a helm that was built from source takes every cluster for version 1.20."""

Object = dict[str, Any]


class HelmRefused(AssertionError):
    """Helm failed; the message is its output."""


def helm(*arguments: str, text: str = "", home: Path | None = None) -> str:
    """Run helm without the user's own configuration, and return what it printed."""
    program = tools.ensure(["helm"])["helm"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    nowhere = str(home or "/nonexistent")
    places = {f"HELM_{kind}_HOME": nowhere for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(
        [str(program), *arguments],
        input=text,
        capture_output=True,
        text=True,
        env={**own, **places},
        timeout=120,
    )
    if done.returncode != 0:
        raise HelmRefused(done.stderr or done.stdout)
    return done.stdout


def manifest(values: Mapping[str, Any] | None = None, chart: Path = CHART) -> str:
    """Return what helm would send to a cluster."""
    text = json.dumps(values or {})
    # Only copies of the chart are changed by tests.
    return _kept(text) if chart == CHART else _template(text, chart)


@cache
def _kept(values: str) -> str:
    return _template(values, CHART)


def _template(values: str, chart: Path) -> str:
    return helm(
        *("template", RELEASE, str(chart), "--namespace", NAMESPACE, "--values", "-"),
        *("--kube-version", KUBERNETES),
        text=values,
    )


def render_all(values: Mapping[str, Any] | None = None, chart: Path = CHART) -> list[Object]:
    """Return the rendered objects."""
    # In C: the CRD is long, and read in every test.
    rendered = yaml.load_all(manifest(values, chart), Loader=yaml.CSafeLoader)
    return [one for one in rendered if one is not None]


def render(values: Mapping[str, Any] | None = None, chart: Path = CHART) -> list[Object]:
    """Return the rendered objects without those of the activator."""
    return [one for one in render_all(values, chart) if not _is_of_activator(one)]


def render_activator(values: Mapping[str, Any] | None = None) -> list[Object]:
    """Return the rendered objects of the activator."""
    return [one for one in render_all(values) if _is_of_activator(one)]


def _is_of_activator(rendered: Object) -> bool:
    labels = rendered["metadata"].get("labels", {})
    return str(labels.get("app.kubernetes.io/name")).endswith("-activator")


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    """Return the objects of a kind, in order."""
    return [one for one in objects if one["kind"] == kind]


def operator_pod(values: Mapping[str, Any] | None = None) -> Object:
    """Return the pod template of the operator's Deployment."""
    (deployment,) = of_kind(render(values), "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def operator_container(values: Mapping[str, Any] | None = None) -> Object:
    """Return the operator's container."""
    (container,) = operator_pod(values)["spec"]["containers"]
    result: Object = container
    return result
