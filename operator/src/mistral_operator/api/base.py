"""The base of the resource's models, and the types that several of them share."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from mistral_operator.api import patterns
from mistral_operator.kube.quantities import MAX_MEMORY, MAX_QUANTITY, quantity_bytes
from mistral_operator.kube.timestamps import parse_time


@dataclass(frozen=True, slots=True)
class Rule:
    """A validation rule, for the API server in CEL and for the models in Python.

    `render` and `fit` work without an API server, and reject the same input with the same message.
    """

    expression: str
    """The rule in CEL."""
    message: str
    """What to write instead."""
    holds: Callable[[Any], bool] | None
    """The same rule in Python; None if it compares with the previous version of the object, which
    only the API server has."""
    message_expression: str = ""
    """CEL for a message that quotes the value. The API server shows `message` if it fails."""
    explain: Callable[[Any], str] | None = None
    """The same message in Python."""

    def permits(self, value: Any) -> bool:
        """Return whether the rule holds, as far as it can be evaluated here."""
        return self.holds is None or self.holds(value)

    def check(self, value: Any) -> Any:
        """Return the value.

        Raises:
            ValueError: the rule does not hold.
        """
        if not self.permits(value):
            raise ValueError(self.explain(value) if self.explain else self.message)
        return value

    @property
    def cel(self) -> dict[str, str]:
        """The rule as in a CRD."""
        rule = {"rule": self.expression, "message": self.message}
        if self.message_expression:
            rule["messageExpression"] = self.message_expression
        return rule

    @property
    def after(self) -> AfterValidator:
        """Check a field's value."""
        return AfterValidator(self.check)

    @property
    def before(self) -> BeforeValidator:
        """Check the original value of a field, before a number is converted to a string or back."""
        return BeforeValidator(self.check)


class ApiModel(BaseModel):
    """A frozen model whose fields are camelCase in YAML.

    The docstring of each field is its description in the CRD, in `kubectl explain` and in
    docs/reference.md. Unknown fields are ignored, so that the operator works with a newer CRD.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Rules for the fields together."""

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for one in self.rules:
            one.check(self)
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return the model itself, which nothing changes.

        pydantic copies the default of a field for each object that does not set it. That took 97 %
        of the time in which `spec: {}` is parsed.
        """
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """Return the schema including the rules."""
        schema = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(schema).update(with_rules(*cls.rules))
        return schema


def cel_text(pattern: str) -> str:
    """Return a pattern as the content of a string of CEL, which has escapes of its own."""
    return pattern.replace("\\", "\\\\")


def quantity_text(path: str) -> str:
    """Return CEL for a quantity as text: Kubernetes also accepts a number for it."""
    return f"(type({path}) == string ? {path} : string({path}))"


def with_rules(*rules: Rule) -> dict[str, Any]:
    """Return the schema extension that carries CEL rules."""
    return {"x-kubernetes-validations": [one.cel for one in rules]}


QUANTITY_ERROR = "quantity"
"""Type of the error for a value that is not a quantity."""


def is_quantity(value: Any) -> bool:
    """Tell whether a value is a quantity; Kubernetes accepts 2 and "2"."""
    text = str(value) if type(value) is int and abs(value) <= MAX_INTEGER else value
    if not isinstance(text, str) or len(text) > MAX_QUANTITY:
        return False
    return re.fullmatch(patterns.QUANTITY, text) is not None


def _as_text(value: Any) -> str:
    if isinstance(value, str) and len(value) > MAX_QUANTITY:
        return value  # for the message about its length
    if not is_quantity(value):
        raise PydanticCustomError(QUANTITY_ERROR, patterns.QUANTITY_MESSAGE)
    return str(value)


Quantity = Annotated[
    str,
    Field(pattern=patterns.QUANTITY, max_length=MAX_QUANTITY),
    BeforeValidator(_as_text),
    # The CRD generator translates this marker.
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]
"""A Kubernetes quantity such as 500m, 2 or 16Gi."""


def _check_memory_size(quantity: str) -> str:
    memory = quantity_bytes(quantity)
    if memory == 0:
        raise ValueError(f"{quantity} is not a usable size: write more than 0, such as 4Gi")
    if memory > MAX_MEMORY:
        raise ValueError(f"{quantity} is more than 1Pi: check the unit, such as 48Gi")
    return quantity


Memory = Annotated[Quantity, AfterValidator(_check_memory_size)]
"""A quantity of memory, at least a byte and at most 1Pi."""


def _that_is_a_time(text: str) -> str:
    if text and parse_time(text).tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return text


Time = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
        r"(Z|[+-][0-9]{2}:[0-9]{2}))?$",
    ),
    AfterValidator(_that_is_a_time),
]
"""A time as RFC 3339, or an empty text if it is not known."""

MAX_INTEGER = 2**53
"""The largest integer that every reader of JSON keeps exactly."""

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
"""A number that is reported."""

_SHARE = Rule(
    "double(self) >= 0.1 && double(self) <= 0.99",
    "write a share of a GPU's memory from 0.1 to 0.99: 0.9 is 90 %",
    lambda share: not isinstance(share, int | float) or 0.1 <= share <= 0.99,
)

MemoryShare = Annotated[
    float, Field(json_schema_extra=with_rules(_SHARE)), _SHARE.before, _SHARE.after
]
"""Share of the memory of a GPU. It has a rule instead of bounds: the API server compares a whole
number with the whole part of a bound. It would accept 0, and reject 90 as larger than 0."""

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=patterns.OBJECT_NAME)]
"""Name of another object in the namespace of the resource."""


def prefix_of(longest: int) -> Rule:
    """Return the rule for the length of the prefix of a key."""
    return Rule(
        f"self.indexOf('/') <= {longest}",
        f"write at most {longest} characters before the slash",
        lambda key: key.find("/") <= longest,
    )


def repeated(values: Sequence[str]) -> str | None:
    """Return the first value that is there more than once, None if all are different."""
    return next((one for one in values if values.count(one) > 1), None)


SHORT_PREFIX = prefix_of(253)
"""A prefix is a DNS subdomain."""

LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=patterns.LABEL_KEY,
        json_schema_extra=with_rules(SHORT_PREFIX),
    ),
    SHORT_PREFIX.after,
]
"""Key of a label or an annotation."""

LabelValue = Annotated[str, Field(max_length=63, pattern=patterns.LABEL_VALUE)]
"""Value of a label."""

Line = Annotated[str, Field(max_length=1024, pattern=patterns.LINE)]
"""One line of text, such as the value of an annotation."""

DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=patterns.DATA_KEY)]
"""Key within a Secret or ConfigMap."""

Image = Annotated[str, Field(min_length=1, max_length=1024, pattern=patterns.IMAGE)]
"""Reference to an image."""

_NOT_LOCAL = Rule(
    f"!self.matches('{cel_text(patterns.LOCAL_URL)}')",
    "a URL cannot be that of a node itself, of the API server or of a metadata service: write the"
    " URL of the service that you mean",
    lambda url: re.fullmatch(patterns.LOCAL_URL, url) is None,
)

Url = Annotated[
    str,
    Field(max_length=512, pattern=patterns.URL, json_schema_extra=with_rules(_NOT_LOCAL)),
    _NOT_LOCAL.after,
]
"""URL of another service."""
