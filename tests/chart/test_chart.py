"""The chart as a whole: it is valid, it is what was reviewed, and its versions agree."""

import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_rendering import CHART, NAMESPACE, helm, manifest, of_kind, render, render_all
from mistral_dev.paths import CHECKOUT
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.kube import names

GOLDEN = Path(__file__).with_name("golden") / "default.yaml"

EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "watchNamespaces": ["team-a", "team-b"],
    "metrics": {"podMonitor": {"enabled": True}},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "networkPolicy": {"enabled": True},
}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_the_chart_passes_strict_lint(values: dict[str, Any]) -> None:
    helm("lint", "--strict", str(CHART), "--values", "-", text=yaml.safe_dump(values))


def test_the_defaults_render_what_was_reviewed(request: pytest.FixtureRequest) -> None:
    # The CRD has its own test below, and would hide the rest.
    rendered = manifest({"crds": {"enabled": False}})
    if request.config.getoption("--update-golden", default=False):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(rendered)

    assert rendered == GOLDEN.read_text(), (
        f"review the difference, then `pytest tests/chart --update-golden` writes {GOLDEN.name}"
    )


def test_the_crd_is_the_one_that_the_models_make_and_outlives_the_release() -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    annotations = crd["metadata"].pop("annotations")

    assert crd == custom_resource_definition()
    assert annotations == {"helm.sh/resource-policy": "keep"}


def test_every_namespaced_object_says_its_namespace() -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding"}
    values = {**EVERYTHING, "crds": {"enabled": False}}
    namespaces = {
        (one["kind"], one["metadata"].get("namespace"))
        for one in render_all(values)
        if one["kind"] not in cluster_wide
    }

    assert {namespace for _, namespace in namespaces} == {NAMESPACE, "team-a", "team-b"}
    assert {kind for kind, where in namespaces if where != NAMESPACE} == {"Role", "RoleBinding"}


def test_no_object_looks_like_a_child_of_a_resource() -> None:
    for one in render_all(EVERYTHING):
        labels = one["metadata"]["labels"]
        assert labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY
        assert names.LABEL_DEPLOYMENT not in labels


def test_the_versions_of_chart_images_and_wheel_are_one() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    assert (chart["version"], chart["appVersion"]) == (project["version"],) * 2
    assert (chart["name"], chart["description"]) == (project["name"], project["description"])


def test_the_package_holds_the_chart_and_nothing_else(tmp_path: Path) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path), home=tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    assert {name for name in packed if not name.startswith("templates/")} == {
        "Chart.yaml",
        "README.md",
        "dashboards/mistral-small.json",
        "rules/mistral.yaml",
        "values.schema.json",
        "values.yaml",
        ".helmignore",
    }
