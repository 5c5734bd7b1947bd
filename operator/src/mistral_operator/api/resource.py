"""A MistralSmallDeployment as the operator sees it: identity and parsed spec."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND

_CHOICE = re.compile(r"int|str|literal\[.*\]|constrained-.*|function-.*")
"""What pydantic calls the alternatives of a field with several types."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Identity and spec of one resource."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec

    @property
    def owner_reference(self) -> dict[str, Any]:
        """The reference that makes Kubernetes delete a child with its resource."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def scaled_to(self, replicas: int) -> Self:
        """Return the resource as if it asked for this many replicas."""
        return replace(self, spec=self.spec.model_copy(update={"replicas": replicas}))


def parse_spec(spec: Mapping[str, Any] | None) -> Spec:
    """Return the spec as a model.

    Raises:
        InvalidResource: a field cannot be understood. The API server refuses most such resources
            itself, unless its CRD is of another version than the operator.
    """
    try:
        return Spec.model_validate(spec or {})
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(("spec", *_field_names(first["loc"])))
        raise InvalidResource(path, _sentence(first)) from error


def _sentence(error: ErrorDetails) -> str:
    """Return what is wrong, and what to write instead where YAML has changed what was written."""
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error" and isinstance(error["input"], bool):
        return f"{said}; put the value in quotes: YAML reads Off, On, No and Yes as true or false"
    return said


def _field_names(location: tuple[int | str, ...]) -> Iterator[str]:
    """Return a location without what pydantic adds for itself: the types of a choice, `[key]`."""
    for part in map(str, location):
        if part != "[key]" and not _CHOICE.fullmatch(part):
            yield part


def parse_resource(body: Mapping[str, Any]) -> Resource:
    """Return a resource from its body as the API server sends it.

    Raises:
        InvalidResource: see `parse_spec`.
    """
    return identified(body, parse_spec(body.get("spec")))


def identified(body: Mapping[str, Any], spec: Spec) -> Resource:
    """Return a resource with the identity of a body and a given spec."""
    metadata = body["metadata"]
    return Resource(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        spec=spec,
    )
