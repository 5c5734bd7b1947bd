"""Settings that are JSON, read as strictly as a manifest: an unknown field is a mistake there.

A field that is ignored opens what its author meant to close: a selector whose only condition is
unknown selects everything.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from mistral_operator.api.sentences import field_path, sentence
from mistral_operator.api.suggestions import shown_key

JSON_ERROR = "json_setting"
"""Type of the error; its message is a whole sentence."""


def json_of(kind: Any) -> BeforeValidator:
    """Return the validator of a setting that is JSON in the environment.

    Its field also needs `NoDecode`: pydantic-settings would decode the text itself, and fail with
    an error of its own.
    """
    adapter = TypeAdapter(kind)

    def read(value: Any) -> Any:
        if not isinstance(value, str | bytes):
            return value
        try:
            return adapter.validate_json(
                value, strict=True, extra="forbid", by_alias=True, by_name=False
            )
        except ValidationError as error:
            message = _message(error.errors()[0], adapter)
            raise PydanticCustomError(JSON_ERROR, "{message}", {"message": message}) from None

    return BeforeValidator(read)


def _message(error: ErrorDetails, adapter: TypeAdapter[Any]) -> str:
    location = error["loc"]
    if error["type"] == "json_invalid":
        return f"it must be JSON: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        names = ", ".join(_fields(adapter.json_schema(by_alias=True), location[:-1]))
        key = shown_key(str(location[-1]))
        return f"{_where(location[:-1])}unknown field {key}; the fields are {names}"
    return f"{_where(location)}{sentence(error)}"


def _where(location: Iterable[int | str]) -> str:
    """Return the path of a value within the setting, such as `[0].ipBlock: `."""
    path = field_path(location).removeprefix("spec").removeprefix(".")
    return f"{path}: " if path else ""


def _fields(schema: Mapping[str, Any], location: Iterable[int | str]) -> list[str]:
    """Return the names of the fields of the object at a location."""
    definitions = schema.get("$defs", {})

    def inlined(one: Mapping[str, Any]) -> Mapping[str, Any]:
        # "T or null" is the only choice in the models.
        one = next((some for some in one.get("anyOf", ()) if some.get("type") != "null"), one)
        return definitions[one["$ref"].removeprefix("#/$defs/")] if "$ref" in one else one

    here = inlined(schema)
    for step in location:
        here = inlined(here["items"] if isinstance(step, int) else here["properties"][step])
    return sorted(here.get("properties", ()))
