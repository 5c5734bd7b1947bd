"""vLLM's own parser takes every command line that we can make, and knows every name we allow."""

from collections.abc import Iterable
from typing import Any

import pytest

from engine_parser import Parsed, parse
from mistral_server.contract import EngineArgumentError, ServerSettings, check_engine_args
from mistral_server.contract.engine_args import ALLOWED_ENGINE_ARGS, SETTING_OF_FLAG
from mistral_server.engine.argv import engine_arguments

MODEL = {"path": "/models/m", "served_name": "mistral", "id": "m"}

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cpu": {"device": "cpu"},
    "one rank": {"engine": {"tensor_parallel_size": 1}},
    "context": {"engine": {"context_length": 32768}},
    "sizes": {"engine": {"max_sequences": 64, "max_batched_tokens": 8192}},
    "memory": {"engine": {"gpu_memory_utilization": 0.95, "kv_cache_dtype": "fp8"}},
    "speculation": {"engine": {"speculation": {"tokens": 6, "lookup_max": 8}}},
    "a copy of the cache": {"engine": {"kv_offload_bytes": 1536 * 2**20}},
    "bytes": {"engine": {"kv_cache_memory_bytes": 67108864}},
    "no images": {"engine": {"images_per_prompt": 0}},
    "no tools": {"engine": {"tools": False}},
    "temperature": {"engine": {"temperature": 0.15}},
    "api servers": {"engine": {"api_servers": 4}},
    "domains": {"engine": {"media_domains": ["images.example.com", "b.example"]}},
    "hugging face": {"model": {**MODEL, "format": "huggingface"}},
    "quantized": {"model": {**MODEL, "quantization": "fp8", "dtype": "float16"}},
    "random": {"model": {**MODEL, "random_weights": True}},
    "prompt": {"system_prompt": {"path": "/etc/prompt"}},
    "extra": {"engine": {"extra_args": ["--seed=7", "--no-async-scheduling", "--block_size=16"]}},
}

SWITCHES = {
    "--async-scheduling",
    "--disable-custom-all-reduce",
    "--enable-chunked-prefill",
    "--enable-prefix-caching",
    "--enforce-eager",
    "--kv-cache-metrics",
    "--no-async-scheduling",
    "--no-enable-chunked-prefill",
    "--no-enable-prefix-caching",
}
"""Arguments without a value."""

WORDS = {"--prefix-caching-hash-algo": "sha256", "--scheduling-policy": "priority"}
"""Values of arguments that do not take a number."""

REFUSED = [
    "--api-key=x",
    "--allowed-local-media-path=/",
    "--trust-remote-code",
    "--middleware=os.system",
    "--port=9",
    "--worker-cls=os.system",
    "--disable-log-stats",
    "--compilation-config={}",
    "--max-model-len=5",
    "--shutdown-timeout=0",
]


def with_value(flag: str) -> str:
    """Return an allowed argument as a user would write it."""
    return flag if flag in SWITCHES else f"{flag}={WORDS.get(flag, '1')}"


def spellings(argument: str) -> Iterable[str]:
    """Yield ways in which vLLM would take the same argument."""
    flag, equals, value = argument.partition("=")
    yield argument
    yield "--" + flag[2:].replace("-", "_") + equals + value
    yield flag[:-1] + equals + value  # argparse completes it


@pytest.fixture(scope="module")
def answers() -> dict[str, Parsed]:
    """Return vLLM's parser results, from one call: names are of variants or of arguments."""
    lines = {
        name: engine_arguments(ServerSettings.model_validate({"model": MODEL, **changes}))
        for name, changes in VARIANTS.items()
    }
    single = [with_value(flag) for flag in ALLOWED_ENGINE_ARGS]
    single += [spelling for refused in REFUSED for spelling in spellings(refused)]
    single += [f"{flag}=1" for flag in SETTING_OF_FLAG]
    lines |= {argument: ["/models/m", argument] for argument in single}
    parsed = parse(["serve", *line] for line in lines.values())
    return dict(zip(lines, parsed, strict=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_vllm_takes_every_command_line(answers: dict[str, Parsed], name: str) -> None:
    assert answers[name].error is None


def test_vllm_understands_what_we_mean(answers: dict[str, Parsed]) -> None:
    values = answers["defaults"].namespace

    assert values["model_tag"] == "/models/m"
    assert values["max_model_len"] == -1  # what fits
    assert values["limit_mm_per_prompt"] == {"image": 10}
    assert values["served_model_name"] == ["mistral"]
    assert values["allowed_media_domains"] == ["no-remote-media.invalid"]
    assert values["shutdown_timeout"] == 120
    assert values["api_server_count"] == 1
    assert answers["temperature"].namespace["override_generation_config"] == {"temperature": 0.15}
    assert answers["speculation"].namespace["speculative_config"] == {
        "method": "ngram",
        "num_speculative_tokens": 6,
        "prompt_lookup_min": 2,
        "prompt_lookup_max": 8,
    }
    assert answers["a copy of the cache"].namespace["kv_offloading_size"] == 1.5
    assert answers["domains"].namespace["allowed_media_domains"] == [
        "images.example.com",
        "b.example",
    ]
    assert answers["prompt"].namespace["middleware"] == ["mistral_server.gate.Gate"]
    assert answers["extra"].namespace["block_size"] == 16
    assert answers["extra"].namespace["async_scheduling"] is False


@pytest.mark.parametrize("flag", sorted(ALLOWED_ENGINE_ARGS))
def test_vllm_knows_every_argument_that_is_allowed(answers: dict[str, Parsed], flag: str) -> None:
    check_engine_args([with_value(flag)])

    assert answers[with_value(flag)].error is None


@pytest.mark.parametrize("flag", sorted(SETTING_OF_FLAG))
def test_vllm_knows_every_argument_that_has_a_field(answers: dict[str, Parsed], flag: str) -> None:
    assert f"unrecognized arguments: {flag}" not in (answers[f"{flag}=1"].error or "")


@pytest.mark.parametrize("refused", REFUSED)
def test_no_spelling_that_vllm_takes_gets_past_the_list(
    answers: dict[str, Parsed], refused: str
) -> None:
    taken = [spelling for spelling in spellings(refused) if answers[spelling].error is None]
    assert len(taken) > 1  # otherwise this test checks nothing
    for spelling in taken:
        with pytest.raises(EngineArgumentError):
            check_engine_args([spelling])
