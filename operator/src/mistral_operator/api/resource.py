"""A MistralSmallDeployment as the operator sees it: identity and parsed spec."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mistral_operator.api.base import Rule
from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND, MAX_NAME

_CHOICE = re.compile(r"int|str|literal\[.*\]|constrained-.*|function-.*")
"""What pydantic calls the alternatives of a field with several types."""

_QUOTED = re.compile(r"'([^']*)'")

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

NAME_RULE = Rule(
    f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('^{_NAME.pattern}$')",
    f"metadata.name is also the name of a Service: use at most {MAX_NAME} lowercase letters,"
    " digits and '-', starting with a letter",
    lambda name: len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None,
)
"""In CEL for the whole resource, in Python for the name: an object's own metadata is no field of
the models."""


def allowed_keys(keys: Iterable[str]) -> Rule:
    """Return the rule for a map whose keys are known."""
    known = tuple(keys)
    quoted = ", ".join(f"'{key}'" for key in known)
    return Rule(
        f"self.all(key, key in [{quoted}])",
        f"allowed keys are {', '.join(known)}",
        lambda value: set(value) <= set(known),
    )


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


def parse_spec(spec: Mapping[str, Any] | None, *, strict: bool = False) -> Spec:
    """Return the spec as a model.

    Args:
        spec: what the resource says.
        strict: refuse a text where a number belongs, and the like, as the API server does.

    Raises:
        InvalidResource: a field cannot be understood. The API server refuses most such resources
            itself, unless its CRD is of another version than the operator.
    """
    try:
        return Spec.model_validate({} if spec is None else spec, strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(("spec", *_field_names(first["loc"])))
        raise InvalidResource(path, _sentence(first)) from error


def _sentence(error: ErrorDetails) -> str:
    """Return what is wrong, and what to write instead where YAML has changed what was written."""
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error" and isinstance(error["input"], bool):
        return f"{said}; put the value in quotes: YAML reads Off, On, No and Yes as true or false"
    if error["type"] == "literal_error" and error["loc"][-1] == "[key]":
        return allowed_keys(_QUOTED.findall(error.get("ctx", {})["expected"])).message
    return said


def _field_names(location: tuple[int | str, ...]) -> Iterator[str]:
    """Return a location without what pydantic adds for itself: the types of a choice, `[key]`."""
    for part in map(str, location):
        if part != "[key]" and not _CHOICE.fullmatch(part):
            yield part


def parse_resource(body: Mapping[str, Any], *, strict: bool = False) -> Resource:
    """Return a resource from its body as the API server sends it.

    Args:
        body: the object.
        strict: see `parse_spec`.

    Raises:
        InvalidResource: see `parse_spec`.
    """
    return identified(body, parse_spec(body.get("spec"), strict=strict))


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
