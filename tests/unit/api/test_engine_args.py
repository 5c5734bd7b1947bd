"""Which further arguments of vLLM a resource may give, in every spelling that vLLM would take."""

import pytest

from mistral_operator.api import parse_spec
from mistral_operator.api.fields import FIELD_NAMES
from mistral_operator.kube.errors import InvalidResource
from mistral_server.contract import EngineArgumentError, check_engine_args
from mistral_server.contract.engine_args import ALLOWED_ENGINE_ARGS, SETTING_OF_FLAG, canonical_flag

ALLOWED = [
    "--seed=7",
    "--seed=",
    "--enable-prefix-caching",
    "--enable_prefix_caching",
    "--no_enable-prefix_caching",
    "--block_size=16",
    "--scheduling-policy=a value with spaces and --dashes",
    '--prefix-caching-hash-algo={"json": [1, "--port=1"]}',
]

REFUSED = {
    "runs code": "--middleware=os.system",
    "runs code, with underscores": "--trust_remote_code",
    "opens files": "--allowed-local-media-path=/",
    "undoes a promise": "--port=9",
    "reads further arguments": "--config=/tmp/x",
    "an abbreviation": "--see=7",
    "an abbreviation of what runs code": "--middlew=os.system",
    "a dotted part of what runs code": "--compilation-config.backend=os.system",
    "a dotted part of what is allowed": "--seed.x=1",
    "another case": "--SEED=7",
    "a longer name": "--seed-x=7",
    "the negation of what has none": "--no-seed",
}

NO_ARGUMENT = [
    "-tp=4",
    "-tp",
    "--",
    "--=x",
    "seed=7",
    "",
    "--seed 7",
    "--seed\n--port=1",
    "---seed=7",
    "--seed=1\n2",
    "--seed=1\x002",
    "--seed=\x1b[2J",
    "--seed=\u202e1",
]


@pytest.mark.parametrize("argument", ALLOWED)
def test_arguments_that_tune_speed_or_memory_are_allowed(argument: str) -> None:
    check_engine_args([argument])


@pytest.mark.parametrize("argument", REFUSED.values(), ids=REFUSED)
def test_other_arguments_are_rejected_with_the_allow_list(argument: str) -> None:
    with pytest.raises(EngineArgumentError, match="is not allowed; allowed are --async") as refused:
        check_engine_args(["--seed=1", argument])

    assert canonical_flag(argument) in str(refused.value)


@pytest.mark.parametrize("argument", NO_ARGUMENT)
def test_an_item_that_is_not_an_argument_is_rejected_with_the_format(argument: str) -> None:
    with pytest.raises(EngineArgumentError, match="write each item as --flag or --flag=value"):
        check_engine_args([argument])


@pytest.mark.parametrize(("flag", "setting"), SETTING_OF_FLAG.items())
def test_an_argument_that_has_a_setting_is_rejected_with_the_setting(
    flag: str, setting: str
) -> None:
    for spelling in (flag, f"{flag}=1", "--" + flag[2:].replace("-", "_") + "=1"):
        with pytest.raises(EngineArgumentError, match=f"has a setting of its own: set {setting}"):
            check_engine_args([spelling])


@pytest.mark.parametrize(("flag", "setting"), SETTING_OF_FLAG.items())
def test_a_resource_is_rejected_with_the_field_to_use(flag: str, setting: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse_spec({"engine": {"extraArgs": [flag]}})

    assert refused.value.message.endswith(
        f"set {FIELD_NAMES[setting]} instead of {flag}. Refused: {flag}"
    )


def test_no_allowed_argument_has_a_setting() -> None:
    both = ALLOWED_ENGINE_ARGS & SETTING_OF_FLAG.keys()

    assert both == set(), (
        "these flags have a setting: remove them from ALLOWED_ENGINE_ARGS in"
        " server/src/mistral_server/contract/engine_args.py"
    )


def test_a_forbidden_argument_is_rejected_without_an_api_server() -> None:
    with pytest.raises(InvalidResource, match=r"Refused: --middleware=os\.system") as refused:
        parse_spec({"engine": {"extraArgs": ["--seed=1", "--middleware=os.system"]}})

    assert refused.value.field == "spec.engine.extraArgs"
