"""The fields of the resource that configure the engine, with the server setting of each.

One row per field. Overrides, hints and the translation of the server's messages are derived from
these rows, and so are the settings `engine.*` that are rendered. `render/server_settings.py`
renders the others by name, as some depend on several fields. A new setting of the engine is a field
of the model, one of the contract and a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from mistral_operator.api.base import ApiModel
from mistral_operator.api.gate import Limits
from mistral_operator.api.speedups import KVOffload, Speculation
from mistral_operator.kube.quantities import quantity_bytes
from mistral_server.contract.setting_names import MEMORY_LIMIT, SHARED_MEMORY, renamed

S = TypeVar("S", bound=ApiModel)


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class SpecField:
    """One field."""

    path: str
    """Path in `Spec`, by attribute names."""
    setting: str
    """Name of the server setting."""
    override: str = ""
    """Field of `Overrides` that replaces it."""
    convert: Callable[[Any], Any] = _unchanged
    """Converts the value of the field to that of the setting."""

    @property
    def name(self) -> str:
        """Path of the field in YAML."""
        return ".".join(["spec", *map(to_camel, self.path.split("."))])

    def value(self, spec: ApiModel) -> Any:
        """Return the setting's value."""
        value: Any = spec
        for part in self.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part)
        return self.convert(value)

    def replaced(self, spec: S, value: Any) -> S:
        """Return a spec with another value of the field."""
        changed: S = _replaced(spec, self.path.split("."), value)
        return changed


def _replaced(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, Mapping):
        return {**value, first: _replaced(value.get(first), rest, new)}
    return value.model_copy(update={first: _replaced(getattr(value, first), rest, new)})


def _number_or_none(length: int | str) -> int | None:
    return None if length == "auto" else int(length)


def _bytes_or_none(memory: str | None) -> int | None:
    return None if memory is None else quantity_bytes(memory)


def _offload_bytes(one: KVOffload | None) -> int | None:
    return None if one is None else quantity_bytes(one.size)


def _speculation(one: Speculation | None) -> dict[str, Any] | None:
    return None if one is None else one.model_dump(exclude={"method"})


_LIMITS = tuple(
    SpecField(f"gate.limits.{name}", f"gate.limits.{name}") for name in Limits.model_fields
)
"""The limits of a request have the same names on both sides."""

FIELDS = (
    SpecField("model", "model.path"),
    SpecField("model.id", "fetch.repository"),
    SpecField("model.revision", "fetch.revision"),
    SpecField("model.served_name", "model.served_name"),
    SpecField("model.format", "model.format"),
    SpecField("model.dtype", "model.dtype"),
    SpecField("model.quantization", "model.quantization"),
    SpecField("engine.tensor_parallel_size", "engine.tensor_parallel_size"),
    SpecField("engine.context_length", "engine.context_length", "context_length", _number_or_none),
    SpecField("engine.max_sequences", "engine.max_sequences", "max_sequences"),
    SpecField("engine.max_batched_tokens", "engine.max_batched_tokens", "max_batched_tokens"),
    SpecField(
        "engine.gpu_memory_utilization", "engine.gpu_memory_utilization", "gpu_memory_utilization"
    ),
    SpecField("engine.kv_cache.dtype", "engine.kv_cache_dtype"),
    SpecField("engine.kv_cache.memory", "engine.kv_cache_memory_bytes", convert=_bytes_or_none),
    SpecField("engine.kv_offload", "engine.kv_offload_bytes", convert=_offload_bytes),
    SpecField("engine.speculation", "engine.speculation", convert=_speculation),
    SpecField("images.per_prompt", "engine.images_per_prompt", "images_per_prompt"),
    SpecField("images.domains", "engine.media_domains", convert=tuple),
    SpecField("engine.temperature", "engine.temperature"),
    SpecField("tools.enabled", "engine.tools"),
    SpecField("engine.api_servers", "engine.api_servers"),
    SpecField("engine.extra_args", "engine.extra_args", convert=tuple),
    SpecField("engine.workarounds", "engine.workarounds"),
    SpecField("startup_seconds", "lifecycle.startup_seconds"),
    SpecField("drain_seconds", "lifecycle.drain_seconds"),
    SpecField("gate.paths", "gate.paths"),
    SpecField("gate.allowed_origins", "gate.allowed_origins"),
    SpecField("gate.max_body_size", "gate.max_body_bytes"),
    SpecField("gate.api_keys", "gate.api_keys"),
    *_LIMITS,
    SpecField("system_prompt", "system_prompt.path"),
    SpecField("shared_memory", SHARED_MEMORY, "shared_memory"),
    SpecField("pod.resources.limits.memory", MEMORY_LIMIT, "memory"),
)

FIELD_NAMES: dict[str, str] = {one.setting: one.name for one in FIELDS}
"""Path of the field by setting."""

OVERRIDDEN: dict[str, SpecField] = {one.override: one for one in FIELDS if one.override}
"""The field that each field of `Overrides` replaces."""


def with_field_names(text: str) -> str:
    """Return a message of the server with its settings replaced by fields of the resource."""
    return renamed(text, FIELD_NAMES)
