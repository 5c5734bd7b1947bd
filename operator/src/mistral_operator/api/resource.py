"""A MistralSmallDeployment in the operator: identity and parsed spec."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import ValidationError

from mistral_operator.api.base import Rule
from mistral_operator.api.sentences import (
    allowed_keys_message,
    field_path,
    sentence,
    short_keys_message,
)
from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND, MAX_NAME

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

NAME_RULE = Rule(
    f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('^{_NAME.pattern}$')",
    f"metadata.name is also the name of a Service: use at most {MAX_NAME} lowercase letters,"
    " digits and '-', starting with a letter",
    lambda name: len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None,
)
"""In CEL for the whole resource, in Python for the name: the metadata of an object is not part of
the models."""


def allowed_keys(keys: Iterable[str]) -> Rule:
    """Return the rule for a map with a fixed set of keys."""
    allowed = tuple(keys)
    quoted = ", ".join(f"'{key}'" for key in allowed)
    return Rule(
        f"self.all(key, key in [{quoted}])",
        allowed_keys_message(allowed),
        lambda value: set(value) <= set(allowed),
    )


def short_keys(longest: int) -> Rule:
    """Return the rule for a map whose keys have a maximum length."""
    return Rule(
        f"self.all(key, key.size() <= {longest})",
        short_keys_message(longest),
        lambda value: all(len(key) <= longest for key in value),
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
        """Return the resource with this many replicas in its spec."""
        return replace(self, spec=self.spec.model_copy(update={"replicas": replicas}))


def parse_spec(spec: Mapping[str, Any] | None, *, strict: bool = False) -> Spec:
    """Return the spec as a model.

    Args:
        spec: the spec of the resource.
        strict: reject values of the wrong type, such as a string for a number, as the API server
            does.

    Raises:
        InvalidResource: a field is invalid. The API server rejects most such resources itself,
            unless its CRD has another version than the operator.
    """
    try:
        return Spec.model_validate({} if spec is None else spec, strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidResource(field_path(first["loc"]), sentence(first)) from error


def parse_resource(body: Mapping[str, Any], *, strict: bool = False) -> Resource:
    """Return the resource of a body from the API server.

    Args:
        body: the object.
        strict: see `parse_spec`.

    Raises:
        InvalidResource: see `parse_spec`.
    """
    return resource_with_spec(body, parse_spec(body.get("spec"), strict=strict))


def resource_with_spec(body: Mapping[str, Any], spec: Spec) -> Resource:
    """Return a resource with the identity of a body and another spec."""
    metadata = body["metadata"]
    return Resource(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        spec=spec,
    )
