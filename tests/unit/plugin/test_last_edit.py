"""The last edit of a spec: what an incident asks first."""

import pytest

from builders import EARLIER, NOW, Object, resource_body
from mistral_operator.plugin.last_edit import Edit, last_edit


def note(manager: str, time: str, *parts: str, **fields: str) -> Object:
    """Return what the API server notes of a program that set fields of a resource."""
    paths: Object = {f"f:{part}": {} for part in parts}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": paths, **fields}


BY_HELM = note("helm", EARLIER, "metadata", "spec")
CASES: dict[str, tuple[list[Object] | None, Edit | None]] = {
    "the newest of several": (
        [note("kubectl-edit", NOW, "spec"), BY_HELM],
        Edit(NOW, "kubectl-edit"),
    ),
    "the operator's status is none": (
        [BY_HELM, note("mistral-small-operator", NOW, "status", subresource="status")],
        Edit(EARLIER, "helm"),
    ),
    "what an autoscaler does is none": (
        [BY_HELM, note("keda", NOW, "spec", subresource="scale")],
        Edit(EARLIER, "helm"),
    ),
    "a label is none": ([BY_HELM, note("kubectl-label", NOW, "metadata")], Edit(EARLIER, "helm")),
    "a note without a time": ([{**note("old", NOW, "spec"), "time": None}], None),
    "no notes": (None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_last_edit_has_its_time_and_its_program(case: str) -> None:
    notes, edit = CASES[case]

    assert last_edit(resource_body(managedFields=notes)) == edit
