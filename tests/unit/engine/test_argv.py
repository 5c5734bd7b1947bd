"""From settings to a command line and an environment. vLLM's own opinion is in tests/engine."""

from typing import Any

import pytest

from mistral_server.contract import ServerSettings
from mistral_server.engine.argv import engine_arguments, engine_environment
from mistral_server.errors import InvalidConfigurationError

MINIMAL: dict[str, Any] = {"model": {"path": "/models/m", "served_name": "mistral", "id": "m"}}

DEFAULTS = [
    "/models/m",
    "--host=0.0.0.0",
    "--port=8000",
    "--served-model-name=mistral",
    "--tokenizer-mode=mistral",
    "--config-format=mistral",
    "--load-format=mistral",
    "--dtype=bfloat16",
    "--tensor-parallel-size=2",
    "--max-model-len=auto",
    "--kv-cache-dtype=auto",
    "--tool-call-parser=mistral",
    "--enable-auto-tool-choice",
    '--limit-mm-per-prompt={"image":10}',
    "--generation-config=vllm",
    "--api-server-count=1",
    "--shutdown-timeout=120",
    "--disable-uvicorn-access-log",
    "--h11-max-incomplete-event-size=65536",
    "--allowed-media-domains",
    "no-remote-media.invalid",
    "--middleware=mistral_server.gate.Gate",
]


@pytest.fixture(autouse=True)
def _ipv4_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the same addresses on every machine."""
    monkeypatch.setattr("mistral_server.engine.argv.every_address", lambda: "0.0.0.0")  # noqa: S104


def settings(**changes: Any) -> ServerSettings:
    """Return the minimal settings with changes; a dict is merged into the part of its name."""
    merged = dict(MINIMAL)
    for name, value in changes.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return ServerSettings.model_validate(merged)


def test_minimal_settings_give_the_recommended_command_line() -> None:
    assert engine_arguments(settings()) == DEFAULTS


@pytest.mark.parametrize(
    ("changes", "added", "removed"),
    [
        ({"engine": {"context_length": 8192}}, ["--max-model-len=8192"], ["--max-model-len=auto"]),
        (
            {"engine": {"tools": False}},
            [],
            ["--tool-call-parser=mistral", "--enable-auto-tool-choice"],
        ),
        (
            {"engine": {"temperature": 0}},
            ['--override-generation-config={"temperature":0.0}'],
            [],
        ),
        (
            {"engine": {"media_domains": ["a.example", "b.example"]}},
            ["a.example", "b.example"],
            ["no-remote-media.invalid"],
        ),
        ({"engine": {"kv_offload_bytes": 16 * 2**30}}, ["--kv-offloading-size=16.0"], []),
        ({"engine": {"kv_offload_bytes": 1536 * 2**20}}, ["--kv-offloading-size=1.5"], []),
        (
            {"engine": {"speculation": {}}},
            [
                (
                    '--speculative-config={"method":"ngram","num_speculative_tokens":4,'
                    '"prompt_lookup_min":2,"prompt_lookup_max":4}'
                )
            ],
            [],
        ),
        ({"engine": {"gpu_memory_utilization": 0.9}}, ["--gpu-memory-utilization=0.9"], []),
        ({"engine": {"extra_args": ["--seed=7"]}}, ["--seed=7"], []),
        (
            {"model": {"format": "huggingface"}},
            ["--tokenizer-mode=auto", "--config-format=auto", "--load-format=auto"],
            ["--tokenizer-mode=mistral", "--config-format=mistral", "--load-format=mistral"],
        ),
        ({"model": {"random_weights": True}}, ["--load-format=dummy"], ["--load-format=mistral"]),
        ({"model": {"quantization": "fp8"}}, ["--quantization=fp8"], []),
        ({"system_prompt": {"path": "/etc/prompt"}}, [], []),
        ({"device": "cpu"}, ["--enforce-eager"], []),
    ],
)
def test_each_setting_changes_its_own_arguments(
    changes: dict[str, Any], added: list[str], removed: list[str]
) -> None:
    arguments = engine_arguments(settings(**changes))

    assert sorted(arguments) == sorted([*(a for a in DEFAULTS if a not in removed), *added])


def test_extra_arguments_stand_last_so_that_nothing_can_follow_them() -> None:
    extra = ["--seed=7", "--block-size=16"]

    assert engine_arguments(settings(engine={"extra_args": extra}, device="cpu"))[-2:] == extra


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--port=9", "not allowed"),
        ("--middleware=os.system", "not allowed"),
        ("--compilation-config={}", "not allowed"),
        ("--block_siz=16", "not allowed"),
        ("--max_model_len=5", "engine.context_length"),
        ("--max-model-le=5", "not allowed"),
        ("--tensor_parallel-size=5", "engine.tensor_parallel_size"),
        ("-tp=5", "write each item as --flag"),
        ("/other/model", "write each item as --flag"),
        ("--", "write each item as --flag"),
        ("--seed 7", "write each item as --flag"),
        ("--limit-mm-per-prompt.image=99", "not allowed"),
    ],
)
def test_other_arguments_are_refused_in_every_spelling(argument: str, says: str) -> None:
    with pytest.raises(InvalidConfigurationError, match=says):
        engine_arguments(settings(engine={"extra_args": [argument]}))


@pytest.mark.parametrize("domain", ["", "https://a.example", "a.example/x", "--port=9", "a b"])
def test_a_media_domain_is_a_host_name(domain: str) -> None:
    with pytest.raises(InvalidConfigurationError, match="is not a hostname"):
        engine_arguments(settings(engine={"media_domains": [domain]}))


def test_dangerous_and_secret_variables_do_not_reach_the_engine() -> None:
    base = {
        "PATH": "/bin",
        "MISTRAL_SERVER_SETTINGS": "{}",
        "HF_TOKEN": "hf_secret",
        "VLLM_API_KEY": "secret",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
        "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "1",
        "VLLM_PORT": "tcp://10.0.0.1:8000",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "1",
        "NCCL_SOCKET_IFNAME": "eth0",
        "FORWARDED_ALLOW_IPS": "*",
    }

    assert engine_environment(settings(), base, "made-up") == {
        "PATH": "/bin",
        "MISTRAL_SERVER_SETTINGS": "{}",
        "MISTRAL_SERVER_TOKEN": "made-up",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_MAX_IMAGE_PIXELS": "33554432",
        "FORWARDED_ALLOW_IPS": "",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "=lo",
        "VLLM_HOST_IP": "127.0.0.1",
    }


def test_a_cpu_gets_its_own_variables() -> None:
    base = {"VLLM_CPU_KVCACHE_SPACE": "4"}
    some = engine_environment(settings(device="cpu"), base, "made-up")
    exact = settings(device="cpu", engine={"kv_cache_memory_bytes": 1 << 26})

    assert some["VLLM_TARGET_DEVICE"] == "cpu"
    assert some["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert some["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(exact, base, "made-up")


def test_the_engine_has_the_limit_of_pixels_too() -> None:
    def pixels(**gate: Any) -> str:
        return engine_environment(settings(gate=gate), {}, "token")["VLLM_MAX_IMAGE_PIXELS"]

    assert pixels() == str(32 * 2**20)
    assert pixels(limits={"image_pixels": 1000}) == "1000"
