"""Examples that are applied again without a change change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mistral_dev.cluster import Cluster
from mistral_dev.paths import CHECKOUT
from mistral_operator.kube import names
from object_versions import settled_versions
from operator_process import OperatorProcess

FOLDER = CHECKOUT / "examples"
EXAMPLES = {
    "-".join(("example", *file.relative_to(FOLDER).with_suffix("").parts)): file
    for file in sorted(FOLDER.glob("**/*.yaml"))
    if file.name != "values.yaml"
}
"""Files by the name of a namespace of their own: several have a resource of one name."""


@pytest.fixture
def examples(cluster: Cluster, shared_operator: OperatorProcess) -> Iterator[dict[str, Path]]:
    """Return every example, applied and served, by its namespace."""
    assert shared_operator.process is not None
    for namespace, file in EXAMPLES.items():
        cluster.kubectl("create", "namespace", namespace)
        apply(cluster, namespace, file)
    yield EXAMPLES
    cluster.kubectl("delete", "namespace", *EXAMPLES, "--wait=false")


def apply(cluster: Cluster, namespace: str, file: Path) -> None:
    """Apply an example as a tool for GitOps does."""
    cluster.kubectl("--namespace", namespace, "apply", "--server-side", "-f", str(file))


def test_an_example_that_is_applied_twice_changes_nothing(
    cluster: Cluster, examples: dict[str, Path]
) -> None:
    before = settled_versions(cluster, [*examples])
    served = {key.partition(":")[0] for key in before if names.KIND in key}
    assert served == {*examples} - {"example-tenancy-quota"}

    for namespace, file in examples.items():
        # It fails if there is a difference.
        cluster.kubectl("--namespace", namespace, "diff", "--server-side", "-f", str(file))
        apply(cluster, namespace, file)

    assert settled_versions(cluster, [*examples]) == before
