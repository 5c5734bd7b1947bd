"""`spec.pod.imagePullSecrets`: Secrets with registry credentials, by name."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from mistral_operator.api.base import Name, repeated


def _is_a_name(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    raise ValueError("write only the name of the Secret, such as my-registry")


def _different_secrets(names: list[str]) -> list[str]:
    if (twice := repeated(names)) is not None:
        raise ValueError(f"{twice} is named twice: remove one")
    return names


PullSecrets = Annotated[
    list[Annotated[Name, BeforeValidator(_is_a_name)]],
    Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}),
    AfterValidator(_different_secrets),
]
"""Different Secrets with registry credentials."""
