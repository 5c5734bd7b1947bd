"""One table from the resource's fields to the server's settings, in both directions."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, crashed_container, pod_body
from mistral_dev.paths import CHECKOUT
from mistral_operator.api import Effective, Overrides, Spec
from mistral_operator.api.crd import resource_schema
from mistral_operator.api.fields import FIELDS, OVERRIDDEN, SpecField, with_field_names
from mistral_operator.api.gate import Limits
from mistral_operator.api.speedups import KVOffload, Speculation
from mistral_operator.oom import Failure, failures_of
from mistral_operator.oom.failures import advice
from mistral_operator.oom.overrides import with_overrides
from mistral_operator.render.server_settings import fetch_settings, server_settings
from mistral_operator.status import report
from mistral_operator.watch.facts import pod_facts
from mistral_server.contract import FLAGS, FailureClass, Stage, TerminationReport
from mistral_server.contract.setting_names import FLAGS_BESIDES, MEMORY_LIMIT, SHARED_MEMORY
from mistral_server.engine_log.classify import ADVICE
from status_inputs import condition_of, status_input

OPERATOR = CHECKOUT / "operator" / "src"
RECORDED = CHECKOUT / "tests" / "data"

VALUES: dict[str, Any] = {
    "model.id": "other/model",
    "model.revision": "v2",
    "model.served_name": "other",
    "model.format": "huggingface",
    "model.dtype": "float32",
    "model.quantization": "fp8",
    "engine.tensor_parallel_size": 4,
    "engine.context_length": 4096,
    "engine.max_sequences": 16,
    "engine.max_batched_tokens": 4096,
    "engine.gpu_memory_utilization": 0.8,
    "engine.kv_cache.dtype": "fp8",
    "engine.kv_cache.memory": "4Gi",
    "engine.kv_offload": KVOffload(size="4Gi"),
    "engine.speculation": Speculation(),
    "images.per_prompt": 3,
    "images.domains": ["example.com"],
    "engine.temperature": 0.5,
    "tools.enabled": False,
    "engine.api_servers": 2,
    "engine.extra_args": ["--seed=7"],
    "engine.workarounds": "Disabled",
    "startup_seconds": 90,
    "drain_seconds": 30,
    "gate.paths": ["/score"],
    "gate.allowed_origins": ["https://chat.example.com"],
    "gate.max_body_size": "1Mi",
    **{f"gate.limits.{name}": 2000 for name in Limits.model_fields},
    "shared_memory": "4Gi",
    "pod.resources.limits.memory": "32Gi",
}
"""A value of each field that is not its default."""

COARSE = {"model.path", "gate.api_keys", "system_prompt.path"}
"""Settings that are made of more than the field that they are called by."""

BESIDES = {MEMORY_LIMIT, SHARED_MEMORY}
"""What the pod sets and not the server."""

SETTABLE = [one for one in FIELDS if one.setting not in COARSE]


def value_of(field: SpecField) -> Any:
    """Return a value of a field that is not its default."""
    assert field.path in VALUES, (
        f"VALUES in tests/unit/api/test_fields.py has no {field.path!r}: add a value that is not"
        " the default"
    )
    return VALUES[field.path]


def settings_of(spec: Spec) -> dict[str, Any]:
    """Return every setting that a spec becomes, by its name."""
    fetched = fetch_settings(spec)
    documents = {"": server_settings(spec).model_dump()}
    if fetched is not None:
        documents["fetch."] = fetched.model_dump()
    return {
        path: value
        for prefix, document in documents.items()
        for path, value in flattened(document, prefix)
    }


def flattened(document: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Return the leaves of a document with their paths."""
    result: list[tuple[str, Any]] = []
    for name, value in document.items():
        here = f"{prefix}{name}"
        result += flattened(value, f"{here}.") if isinstance(value, dict) else [(here, value)]
    return result


def schema_fields(schema: dict[str, Any], path: str) -> set[str]:
    """Return the path of every field below a schema."""
    result = {path}
    for name, inner in schema.get("properties", {}).items():
        result |= schema_fields(inner.get("items", inner), f"{path}.{name}")
    return result


SPEC = schema_fields(resource_schema()["properties"]["spec"], "spec")


@pytest.mark.parametrize("field", SETTABLE, ids=lambda one: one.name)
def test_a_field_becomes_the_setting_of_its_row(field: SpecField) -> None:
    before = settings_of(Spec())
    after = settings_of(field.replaced(Spec(), value_of(field)))

    # A setting that is an object of its own is None before, and has settings below it after.
    changed = {
        name
        for name in before.keys() | after.keys()
        if before.get(name, "absent") != after.get(name, "absent")
    }
    if field.setting in BESIDES:
        assert changed == set()
    else:
        assert field.setting in changed


@pytest.mark.parametrize("field", FIELDS, ids=lambda one: one.name)
def test_every_row_names_a_field_of_the_resource(field: SpecField) -> None:
    limits = "spec.pod.resources.limits"

    assert field.name in SPEC or field.name == f"{limits}.memory"


def test_every_setting_of_the_engine_and_every_flag_has_a_row() -> None:
    rows = {one.setting for one in FIELDS}
    engine = {name for name in settings_of(Spec()) if name.startswith("engine.")}

    assert engine <= rows, (
        f"add rows to FIELDS in operator/src/mistral_operator/api/fields.py: {engine - rows}"
    )
    assert set(FLAGS) <= rows
    assert set(FLAGS_BESIDES.values()) <= rows


def test_every_override_has_a_row_and_names_the_field_it_replaces() -> None:
    assert set(OVERRIDDEN) == set(Overrides.model_fields)
    for name, field in Overrides.model_fields.items():
        assert field.description == f"Overrides {OVERRIDDEN[name].name}."


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_override_replaces_its_field_and_nothing_else(name: str) -> None:
    field = OVERRIDDEN[name]
    value = value_of(field)

    changed = with_overrides(Spec(), Overrides.model_validate({name: value}))

    assert changed == field.replaced(Spec(), value)
    assert changed != Spec()


def test_an_override_of_the_memory_limit_keeps_the_other_limits() -> None:
    spec = Spec.model_validate({"pod": {"resources": {"limits": {"cpu": "4", "memory": "8Gi"}}}})

    changed = with_overrides(spec, Overrides(memory="16Gi"))

    assert changed.pod.resources.limits == {"cpu": "4", "memory": "16Gi"}
    assert spec.pod.resources.limits["memory"] == "8Gi"


def test_what_an_engine_reports_has_the_names_of_the_settings() -> None:
    reported = set(Effective.model_fields) - {"vllm_version", "mistral_common_version"}

    assert reported - {"kv_cache_tokens"} <= {one.setting.split(".")[-1] for one in FIELDS}


_WITHOUT_FIELD = {
    FailureClass.GPU_HARDWARE,
    FailureClass.GPU_UNSUPPORTED,
    FailureClass.NOT_WRITABLE,
    FailureClass.MODEL_UNAVAILABLE,
    FailureClass.MODEL_DAMAGED,
}


@pytest.mark.parametrize("failure", ADVICE)
def test_advice_names_fields_of_the_resource(failure: FailureClass) -> None:
    sentence = advice(failure.value)

    assert not re.search(r"\b(engine|model|lifecycle|gate)\.[a-z]+_", sentence.replace("spec.", ""))
    assert (sentence == ADVICE[failure]) == (failure in _WITHOUT_FIELD)


def crashed(message: str, **fields: Any) -> dict[str, Any]:
    """Return a pod whose server left a report."""
    words = TerminationReport(
        failure=FailureClass.KV_CACHE_TOO_SMALL, stage=Stage.PROFILING, message=message, **fields
    )
    ended = crashed_container(81, message=words.to_bytes().decode(), started=False)
    return pod_body(ended)


@pytest.mark.parametrize(
    "message",
    [
        "It exited. Set engine.context_length to what fits.",
        "It exited. Set spec.engine.contextLength to what fits.",
    ],
    ids=["a server of today", "a server of the first images"],
)
def test_a_condition_names_the_field_instead_of_the_server_setting(message: str) -> None:
    condition = condition_of(report(status_input(crashed(message)), NOW))

    assert "It exited. Set spec.engine.contextLength to what fits." in condition.message


@pytest.mark.parametrize("name", ["contextLength", "engine.context_length"])
def test_a_suggested_length_is_read_from_old_servers_and_new_ones(name: str) -> None:
    (failure,) = failures_of([pod_facts(crashed("It exited.", suggest={name: 4096}))])

    assert isinstance(failure, Failure)
    assert failure.suggest == {"engine.context_length": 4096}


def recorded_reports() -> list[str]:
    """Return the messages of the reports in recorded logs, which name the resource's fields."""
    logs = (one.read_text(errors="replace") for one in sorted(RECORDED.rglob("*.log")))
    reports = (text.rpartition(" Ended: ")[2] for text in logs if " Ended: {" in text)
    return [TerminationReport.model_validate_json(one).message for one in reports]


def test_a_recorded_report_of_an_old_server_reads_as_it_was_written() -> None:
    messages = recorded_reports()

    assert any("spec.engine." in one for one in messages)
    assert [with_field_names(one) for one in messages] == messages


@pytest.mark.parametrize(
    "file",
    [
        *sorted(OPERATOR.rglob("*.py")),
        *sorted((CHECKOUT / "docs").glob("*.md")),
        CHECKOUT / "README.md",
    ],
    ids=lambda one: one.name,
)
def test_every_field_that_a_text_names_exists(file: Path) -> None:
    named = set(re.findall(r"(?<![\w./-])spec(?:\.[a-z][A-Za-z]*)+", texts_of(file)))

    assert {one for one in named if not is_field(one)} == set()


def texts_of(file: Path) -> str:
    """Return a document, or the texts in a program."""
    if file.suffix != ".py":
        return file.read_text()
    nodes = [one for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.Constant)]
    return "\n".join(one.value for one in nodes if isinstance(one.value, str))


def is_field(path: str) -> bool:
    """Tell whether a path names a field, or a key of one that is a map."""
    return path in SPEC or path.rpartition(".")[0] in {
        "spec.pod.resources.limits",
        "spec.pod.resources.requests",
        "spec.pod.nodeSelector",
    }
