"""Resources and signals that attackers would write, each one by rule: the same in every run."""

import json
from collections.abc import Iterator
from typing import Any

from mistral_operator.api.crd import resource_schema

Schema = dict[str, Any]
Path = tuple[str | int, ...]

_NESTED: Any = "deep"
for _ in range(200):
    _NESTED = [_NESTED]

TEXTS = [
    "../../victim/configmaps/c",
    "..",
    "%2e%2e%2f",
    "a?watch=true",
    "a\x00b",
    "a\nb: c",
    "\x1b[2J\x1b]0;x\x07",
    "\u202e\u2066x",
    "\ud800",
    "${HOME}$(id)`id`",
    "{{ .Values.x }}",
    "--trust-remote-code",
    "http://169.254.169.254/latest",
    "https://user:secret@hub.example.com",
    "localhost",
    "x" * 2**20,
    "9" * 700_000,
    "-1",
    "1e999",
    "",
]
NUMBERS = [-1, 0, 2**31, 2**63, 10**400, 10**5000, 1e308, float("inf"), float("nan"), True]
SHAPES: list[Any] = [None, [], {}, ["x"] * 10_000, {"k" * 5000: "v"}, _NESTED]

VALUES = [*TEXTS, *NUMBERS, *SHAPES]
"""What is written into each field."""


def leaves(schema: Schema, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every field of a schema that holds no other fields."""
    properties = schema.get("properties", {})
    for name, inner in properties.items():
        yield from leaves(inner, (*path, name))
    if "items" in schema:
        yield from leaves(schema["items"], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield (*path, "memory")
    if not properties and "items" not in schema:
        yield path


def written(path: Path, value: Any) -> Any:
    """Return a document with a value at a path, and what is required beside it."""
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


_COMPANIONS: dict[str, Any] = {
    "autoscaling": {"driver": "KEDA", "maxReplicas": 4, "targetInFlight": 8},
    "systemPrompt": {"source": "ConfigMap", "configMap": {"name": "prompt"}},
    "pod": {"tolerations": [], "topologySpread": []},
}
"""What a field needs beside it to be read at all."""


def hostile_specs() -> Iterator[tuple[str, Any]]:
    """Yield specs with one hostile value each, with a name."""
    spec = resource_schema()["properties"]["spec"]
    for path in sorted(set(leaves(spec)), key=str):
        for number, value in enumerate(VALUES):
            document = written(path, value)
            if isinstance(document, dict) and isinstance(path[0], str):
                beside = _COMPANIONS.get(path[0], {})
                document = {path[0]: _merged(beside, document[path[0]])}
            yield f"{'.'.join(map(str, path))}-{number}", document
    for number, value in enumerate(VALUES):
        yield f"spec-{number}", value


def _merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    both = {key: _merged(base[key], changes[key]) for key in base.keys() & changes.keys()}
    return {**base, **changes, **both}


def hostile_signals() -> Iterator[tuple[str, bytes]]:
    """Yield answers of a pod at /signals, with a name."""
    fields = [
        *("stage", "stage_seconds", "ready", "running", "waiting", "starved", "tokens"),
        *("looping", "kv_cache_usage", "kv_pressure", "effective"),
        "compile_cache",
    ]
    effective = ("vllm_version", "tensor_parallel_size", "context_length", "kv_cache_tokens")
    literals = {
        "401 digits": "1" + "0" * 400,
        "60,000 digits": "9" * 60_000,
        "negative": "-1",
        "huge exponent": "1e999999",
        "NaN": "NaN",
        "infinity": "-Infinity",
        "escapes": json.dumps("\x1b[2J hf_canary0123456789 \x00"),
        "long text": json.dumps("x" * 60_000),
        "surrogate": '"\\ud800"',
        "nested": "[" * 500 + "]" * 500,
        "null": "null",
    }
    for field in fields:
        for name, literal in literals.items():
            yield f"{field}: {name}", f'{{"ready": true, "{field}": {literal}}}'.encode()
    for field in effective:
        for name, literal in literals.items():
            document = f'{{"ready": true, "effective": {{"{field}": {literal}}}}}'
            yield f"effective.{field}: {name}", document.encode()
    for name, literal in literals.items():
        report = f'{{"use": "off", "reason": {literal}}}'
        yield (
            f"compile_cache.reason: {name}",
            f'{{"ready": true, "compile_cache": {report}}}'.encode(),
        )
    yield "nothing", b""
    yield "a list", b"[]"
    yield "very deep", b'{"ready": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    yield "very deep and open", b'{"a":' * 12_000
    yield "UTF-16", '{"ready": true}'.encode("utf-16")
    yield "bytes", bytes(range(256)) * 200
    yield "many keys", json.dumps({"ready": True, **{f"k{n}": n for n in range(5000)}}).encode()
    yield "one key twice", b'{"ready": true, "running": 1, "running": ' + b"9" * 401 + b"}"
