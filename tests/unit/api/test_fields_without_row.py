"""A field that configures the server has a row in api/fields.py, or is known to reach the pod."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from mistral_operator.api import Spec
from mistral_operator.api.fields import FIELDS, SpecField
from mistral_operator.render.server_settings import server_settings

GROUPS = ("engine", "gate", "images", "logs", "loops", "model", "system_prompt", "tools")
"""Parts of the spec that become settings of the server."""

BY_NAME: dict[str, Any] = {
    "gate.accept_developer": False,
    "gate.fit_max_tokens": False,
    "gate.honest_finish": False,
    "gate.normalize_tool_ids": False,
    "logs.format": "JSON",
    "logs.requests": False,
    "loops.action": "Stop",
    "loops.min_tokens": 999,
    "loops.repeats": 99,
    "loops.stop_min_tokens": 999,
    "loops.stop_repeats": 99,
    "model.random_weights": True,
    "system_prompt.source": "Official",
    "tools.strict": "Enforce",
}
"""Fields that render/server_settings.py renders by name, with a value that is not the default."""

IN_THE_POD = {
    "gate.api_keys.secret": "a volume, with a file that the setting gate.api_keys names",
    "model.source.hub.endpoint": "a variable of the init container that fetches the model",
    "model.source.hub.token_secret.key": "as the endpoint",
    "model.source.hub.token_secret.name": "as the endpoint",
    "model.source.image.path": "the volume with the model, which the setting model.path names",
    "model.source.image.pull_policy": "as the path",
    "model.source.image.reference": "as the path",
    "model.source.persistent_volume_claim.claim_name": "as the path of an image",
    "model.source.persistent_volume_claim.path": "as the path of an image",
    "system_prompt.config_map.key": "a volume, with a file that system_prompt.path names",
    "system_prompt.config_map.name": "as the key",
}
"""Fields that become a part of the pod, and which one; tests/golden shows them."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the path of each field that has no fields of its own."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        below = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
        if not below:
            yield f"{prefix}{name}"
        for kind in below:
            yield from leaves(kind, f"{prefix}{name}.")


OBJECTS = {"engine.kv_offload", "engine.speculation"}
"""Objects with one row for all their fields; tests/golden/field-effects.txt has each."""

LEAVES = [path for path in leaves(Spec) if path.partition(".")[0] in GROUPS]
ROWS = {one.path for one in FIELDS}


@pytest.mark.parametrize("path", LEAVES)
def test_a_field_has_a_row_or_is_known_to_reach_the_pod(path: str) -> None:
    parents = {path.rsplit(".", count)[0] for count in range(1, path.count("."))}
    assert path in ROWS | BY_NAME.keys() | IN_THE_POD.keys() or parents & ROWS & OBJECTS, (
        f"spec.{path} configures nothing: add its row to FIELDS in"
        " operator/src/mistral_operator/api/fields.py; CONTRIBUTING.md lists all steps"
    )


def test_no_exception_is_out_of_date() -> None:
    exceptions = [*BY_NAME, *IN_THE_POD]

    assert len(set(exceptions)) == len(exceptions)
    assert set(exceptions) <= set(LEAVES) - ROWS


@pytest.mark.parametrize(("path", "value"), BY_NAME.items(), ids=BY_NAME)
def test_a_field_that_is_rendered_by_name_changes_a_setting(path: str, value: Any) -> None:
    changed = SpecField(path, "").replaced(Spec(), value)

    assert server_settings(changed) != server_settings(Spec())
