"""`spec.engine.speculation` and `kvOffload`: what can make the engine faster, at a price."""

from typing import Annotated, ClassVar

from pydantic import Field

from mistral_operator.api.base import ApiModel, Memory, Rule, is_quantity, with_rules
from mistral_operator.kube.quantities import is_at_least

_METHOD = Rule(
    "self == 'NGram'",
    "spec.engine.speculation.method must be NGram: ngram_gpu was slower with this model, and other"
    " methods need a draft model or packages that the server image does not have",
    lambda method: method == "NGram",
)


class Speculation(ApiModel):
    """Speculative decoding: proposed tokens are verified by the model, several in one step."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.lookupMin <= self.lookupMax",
            "spec.engine.speculation.lookupMin is greater than lookupMax, which is 4 if it is not"
            " set: make the minimum no larger than the maximum",
            lambda one: one.lookup_min <= one.lookup_max,
        ),
    )

    method: Annotated[str, _METHOD.after] = Field(
        default="NGram", max_length=32, json_schema_extra=with_rules(_METHOD)
    )
    """How tokens are proposed. `NGram` copies what followed the same tokens earlier in the request,
    and needs no second model. It is the only method."""
    tokens: int = Field(default=4, ge=1, le=16)
    """Number of tokens that are proposed for each step. Raise it for text that repeats long
    passages of its prompt."""
    lookup_min: int = Field(default=2, ge=1, le=32)
    """Minimum number of last tokens that must have occurred before. Raise it to propose less often
    in vain."""
    lookup_max: int = Field(default=4, ge=1, le=32)
    """Maximum number of last tokens that are searched for; the longest match is used."""


ASYNC_SCHEDULING = "--async-scheduling"
"""Flag that vLLM rejects together with n-grams. Without it, vLLM schedules synchronously."""


_SIZE_TEXT = Rule(
    "type(self) == string",
    "spec.engine.kvOffload.size: write it as a quoted quantity, such as 16Gi",
    lambda size: isinstance(size, str),
)
_SIZE = Rule(
    "type(self) != string || !isQuantity(self) || quantity(self).compareTo(quantity('1Gi')) >= 0",
    "spec.engine.kvOffload.size must be at least 1Gi: a token takes 160 KiB",
    lambda size: not is_quantity(size) or is_at_least(size, 1024**3),
)


class KVOffload(ApiModel):
    """A copy of the KV cache in the memory of the node."""

    size: Annotated[Memory, _SIZE.before, _SIZE_TEXT.before] = Field(
        json_schema_extra=with_rules(_SIZE_TEXT, _SIZE)
    )
    """Size of the copy, such as 16Gi, of all GPUs of a replica together. From 1Gi to 1Pi. It is in
    /dev/shm, which gets larger by it, as do the default request and limit of memory."""
