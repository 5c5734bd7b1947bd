"""The server speaks of its own settings, by names that exist; others are derived from these."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mistral_dev.paths import CHECKOUT
from mistral_server.contract import FLAGS, FetchSettings, ServerSettings
from mistral_server.contract.engine_args import ALLOWED_ENGINE_ARGS, SETTING_OF_FLAG
from mistral_server.contract.setting_names import FLAGS_BESIDES, renamed, with_flags
from mistral_server.engine.argv import engine_arguments, engine_environment

SERVER = CHECKOUT / "server" / "src"

MODEL = {"path": "/m", "served_name": "m", "id": "m"}
OTHER: dict[str, object] = {
    "model.served_name": "other",
    "model.path": "/other",
    "model.dtype": "float32",
    "model.quantization": "fp8",
    "model.format": "huggingface",
    "model.random_weights": True,
    "model.id": "other",
    "engine.tools": False,
    "engine.extra_args": ["--block-size=16"],
    "engine.workarounds": "Disabled",
    "engine.media_domains": ["example.com"],
    "engine.kv_cache_dtype": "fp8",
    "engine.gpu_memory_utilization": 0.5,
    "engine.speculation": {"tokens": 7},
    "engine.temperature": 0.5,
}
"""Values that the other settings, which take 7, do not take."""


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the path of every setting."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from paths(kind, f"{prefix}{name}.")


SETTINGS = {*paths(ServerSettings), *paths(FetchSettings, "fetch.")}


ELSEWHERE = {
    "engine.workarounds": "the gate applies them in the API process",
    "model.id": "for users and metrics",
}
"""Settings that do not reach vLLM, and why."""


def server(**settings: Any) -> ServerSettings:
    """Return the settings of a server."""
    model = MODEL | settings.pop("model", {})
    return ServerSettings.model_validate({"model": model, **settings})


def other(setting: str) -> ServerSettings:
    """Return the settings of a server with another value of one."""
    group, *names = setting.split(".")
    value: object = OTHER.get(setting, 7)
    for name in reversed(names):
        value = {name: value}
    try:
        return server(**{group: value})
    except ValidationError as error:
        pytest.fail(
            f"OTHER in tests/unit/contract/test_setting_names.py has no valid value of"
            f" {setting}: add one that is not the default. {error}"
        )


def argv(**settings: Any) -> list[str]:
    """Return the engine's command line for some settings."""
    return engine_arguments(server(**settings))


def launch(settings: ServerSettings) -> tuple[list[str], dict[str, str]]:
    """Return the engine's command line and environment."""
    return engine_arguments(settings), engine_environment(settings, {}, "token")


def constants() -> Iterator[tuple[str, str]]:
    """Yield every text in the server's code that is no docstring."""
    for file in sorted(SERVER.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            texts = [] if isinstance(node, ast.Expr) else ast.iter_child_nodes(node)
            for text in texts:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield file.name, text.value


@pytest.mark.parametrize("setting", FLAGS)
def test_every_named_setting_exists(setting: str) -> None:
    assert setting in SETTINGS


@pytest.mark.parametrize("setting", [one for one in FLAGS if not one.startswith("fetch.")])
def test_a_setting_maps_to_its_flag_alone(setting: str) -> None:
    before, after = argv(), engine_arguments(other(setting))

    changed = {one.partition("=")[0] for one in set(before) ^ set(after) if one.startswith("--")}
    if setting == "model.path":  # the one that vLLM takes without its flag
        assert (after[0], changed) == ("/other", set())
    elif setting == "engine.media_domains":  # a list follows its flag
        assert after[after.index(FLAGS[setting]) + 1] == "example.com"
    else:
        assert changed == {FLAGS[setting]}


@pytest.mark.parametrize(
    "setting",
    sorted(one for one in SETTINGS if one.startswith(("engine.", "model."))),
)
def test_each_setting_of_engine_and_model_reaches_vllm(setting: str) -> None:
    reaches = launch(other(setting)) != launch(server())

    assert reaches != (setting in ELSEWHERE), (
        f"{setting} does not reach vLLM: render it in server/src/mistral_server/engine/argv.py,"
        " and add its flag to FLAGS in server/src/mistral_server/contract/setting_names.py"
        if not reaches
        else f"{setting} reaches vLLM: remove it from ELSEWHERE"
    )


FIXED = {
    *("--disable-uvicorn-access-log", "--generation-config", "--host", "--middleware"),
    "--port",
}
"""Flags of which no setting decides the value."""


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_every_flag_of_the_command_line_belongs_to_a_setting(device: str) -> None:
    engine = {"max_sequences": 7, "max_batched_tokens": 7, "temperature": 0.5}
    flags = {
        one.partition("=")[0] for one in argv(device=device, engine=engine) if one.startswith("--")
    }

    assert "--tool-call-parser" in flags
    assert flags - SETTING_OF_FLAG.keys() - ALLOWED_ENGINE_ARGS == FIXED


@pytest.mark.parametrize("setting", sorted(set(FLAGS_BESIDES.values())))
def test_a_flag_besides_belongs_to_a_setting_that_exists(setting: str) -> None:
    assert setting in SETTINGS


def test_no_sentence_of_the_server_names_a_field_of_the_resource() -> None:
    assert [(file, text) for file, text in constants() if "spec." in text] == []


RENAMED = {
    "a setting": ("lower engine.max_sequences", "lower X"),
    "at the end of a sentence": ("Lower engine.max_sequences.", "Lower X."),
    "two of them": ("engine.max_sequences or model.dtype", "X or Y"),
    "a field of the resource": ("spec.engine.max_sequences", "spec.engine.max_sequences"),
    "a longer name": ("engine.max_sequences_each", "engine.max_sequences_each"),
    "a part of a path": ("/engine.max_sequences", "/engine.max_sequences"),
    "a deeper name": ("engine.max_sequences.each", "engine.max_sequences.each"),
    "before another mark": ("engine.max_sequences: too many", "X: too many"),
}


@pytest.mark.parametrize(("text", "want"), RENAMED.values(), ids=RENAMED)
def test_a_name_is_replaced_where_it_stands_alone(text: str, want: str) -> None:
    assert renamed(text, {"engine.max_sequences": "X", "model.dtype": "Y"}) == want


def test_flags_stand_behind_their_settings() -> None:
    text = "Set engine.context_length to what fits."

    assert with_flags(text) == "Set engine.context_length (--max-model-len) to what fits."
