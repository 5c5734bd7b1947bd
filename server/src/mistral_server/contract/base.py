"""Base classes of the models in the contract."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mistral_server.contract.lenient import parse_object


class ContractModel(BaseModel):
    """A frozen model that rejects unknown fields.

    The operator renders settings for the server image that it was installed with, so an unknown
    field is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerDocument(ContractModel):
    """A document written by a server. Unknown fields of a newer server are ignored.

    With `spec.image` and during a rollout, an operator reads documents of other server versions.
    """

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """Return the document in a text that any process in a pod may have written.

        A field that does not validate has its default: one odd field does not lose the others.

        Raises:
            ValueError: the text is not a JSON object, or a required field is missing or invalid.
        """
        document = parse_object(text)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            for problem in error.errors(include_input=False, include_url=False):
                _remove(document, problem["loc"])
        return cls.model_validate(document)


def _remove(document: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Remove the innermost field on the way to a problem; union members follow it there."""
    field, *rest = location
    value = document.get(str(field))
    if rest and isinstance(value, dict) and rest[0] in value:
        _remove(value, tuple(rest))
    else:
        document.pop(str(field), None)
