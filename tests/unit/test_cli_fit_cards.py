"""The command `fit` for GPUs by name: options, table and JSON."""

import json
import re
from typing import Any

import pytest

from mistral_operator.fit import cards
from mistral_operator.fit.cards import CARDS, Card, card_named
from operator_commands import document, run


def documents(*arguments: str, **spec: Any) -> list[dict[str, Any]]:
    """Return what `fit` says as JSON."""
    result = run("fit", "-f", "-", "-o", "json", *arguments, documents=(document(spec=spec),))
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


def test_fit_without_anything_compares_all_gpus_that_it_knows() -> None:
    result = run("fit")

    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert result.exit_code == 0
    assert list(rows) == [one.name for one in CARDS]
    assert rows["h100"].endswith("  yes       605296    131072  18 requests of 32k")
    assert rows["a30"].endswith("  no             0         -  too little memory")
    assert "bfloat16 needs 8.0 or higher" in rows["t4"]


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("h100", "h100"),
        ("H100-80GB", "h100"),
        ("NVIDIA RTX 4090", "rtx-4090"),
        ("A100 40GB", "a100-40gb"),
        ("L40S", "l40s"),
        ("h100-sxm", "h100"),
        ("A100-SXM-80GB", "a100-80gb"),
        ("NVIDIA-H100-80GB-HBM3", "h100"),
        ("NVIDIA-H100-PCIe", "h100"),
        ("NVIDIA-H200", "h200"),
        ("H200 141GB", "h200"),
        ("NVIDIA-A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA-A100-80GB-PCIe", "a100-80gb"),
        ("NVIDIA-L4", "l4"),
        ("L4 24GB", "l4"),
        ("Tesla-T4", "t4"),
        ("NVIDIA-GeForce-RTX-4090", "rtx-4090"),
    ],
)
def test_a_gpu_is_known_however_it_is_written(name: str, card: str) -> None:
    assert card_named(name).name == card


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a100", "did you mean a100-40gb or a100-80gb? the names are t4, "),
        ("l40x", "did you mean l40s? the names"),
        ("NVIDIA-A100-SXM4", "did you mean a100-40gb or a100-80gb? the names are t4, "),
        ("v100", "the names are t4, "),
        ("rtx-4080", "the names are t4, "),
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "the names are t4, "),
        ("NVIDIA-H100-NVL", "did you mean h100? the names"),
        ("H100-94GB", "the names are t4, "),
        ("mi300x", "the names are t4, "),
        ("", "the names are t4, "),
    ],
)
def test_an_unknown_gpu_is_rejected_with_those_that_are_known(name: str, message: str) -> None:
    result = run("fit", "--gpu", name)

    assert result.exit_code == 2
    assert f"Invalid value for --gpu: {message}" in " ".join(result.stderr.split())


def test_the_table_is_sorted_by_memory() -> None:
    assert sorted(CARDS, key=lambda one: one.memory_mib) == list(CARDS)


@pytest.mark.parametrize("card", CARDS, ids=lambda one: one.name)
def test_every_card_has_a_source(card: Card) -> None:
    product = re.sub("-[0-9]+gb$", "", card.name).replace("-", " ").upper()

    _, _, sources = (cards.__doc__ or "").partition("- Memory as nvidia-smi shows it")
    assert re.search(rf"\b{product}\b", sources)


def test_a_card_that_was_measured_has_its_measured_memory() -> None:
    (one,) = documents("--gpu", "h200", "--gpus", "1")

    assert one["usableGiB"] == 139.8


def test_options_replace_the_settings_of_the_resource() -> None:
    options = ("--gpu", "h100", "--gpus", "1", "--quantization", "fp8", "--context", "32768")

    (one,) = documents(*options)

    assert (one["gpu"], one["gpus"], one["fits"]) == ("h100", 1, True)
    assert one["requests"] == {"count": 8, "tokens": 32768}
    assert (one["kvCacheTokens"], one["longestContext"]) == (282_128, 32_768)


def test_quantized_weights_are_those_of_a_quantized_repository() -> None:
    (one,) = documents("--gpu", "l40s", "--gpus", "1", "--quantization", "awq")

    assert one["fits"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--context", "99"), "must be auto or a number of tokens from 1024 to 131072"),
        (("--quantization", "int3"), "spec.model.quantization: must be 'fp8', 'awq', 'gptq' or"),
    ],
)
def test_an_option_is_checked_as_the_field_is(options: tuple[str, ...], message: str) -> None:
    result = run("fit", "--gpu", "h100", *options)

    assert result.exit_code == 1
    assert message in result.stderr


def test_a_name_and_a_memory_exclude_each_other() -> None:
    result = run("fit", "--gpu", "h100", "--gpu-memory", "80Gi")

    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


UNSUITABLE = {
    "8 GPUs without bfloat16": (
        ("--gpu", "t4", "--gpus", "8"),
        {},
        "cannot run\n  the GPUs have compute capability 7.x, and bfloat16 needs 8.0 or higher",
    ),
    "two MIG slices": (
        ("--gpu-memory", "40Gi"),
        {"pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb"}}},
        "nvidia.com/mig-3g.40gb is a MIG slice, and NCCL does not connect",
    ),
    "a GPU of another vendor": (
        ("--gpu-memory", "192Gi"),
        {"pod": {"gpu": {"resourceName": "amd.com/gpu"}}},
        "amd.com/gpu is a device of AMD, and the server image is for GPUs of NVIDIA",
    ),
}


@pytest.mark.parametrize(("options", "spec", "message"), UNSUITABLE.values(), ids=UNSUITABLE.keys())
def test_gpus_that_cannot_run_the_model_never_fit(
    options: tuple[str, ...], spec: Any, message: str
) -> None:
    result = run("fit", "-f", "-", *options, documents=(document(spec=spec),))

    assert result.exit_code == 1
    assert message in result.stdout


@pytest.mark.parametrize("options", [("--gpu", "h100"), ("-o", "table")])
def test_a_slice_is_no_whole_gpu(options: tuple[str, ...]) -> None:
    slice_ = {"pod": {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}}}
    result = run("fit", "-f", "-", "--gpus", "1", *options, documents=(document(spec=slice_),))

    assert result.exit_code == 2
    assert "pass --gpu-memory with the number in the node label nvidia.com/mig-1g.10gb.memory" in (
        " ".join(result.stderr.split())
    )


@pytest.mark.parametrize(
    ("options", "gpu"), [(("--gpu-memory", "40192Mi"), {}), ((), {"memory": "40192Mi"})]
)
def test_a_slice_of_a_size_is_checked(options: tuple[str, ...], gpu: Any) -> None:
    slice_ = {"pod": {"gpu": {"resourceName": "nvidia.com/mig-3g.40gb", **gpu}}}
    arguments = ("--gpus", "1", "--quantization", "fp8", *options)
    result = run("fit", "-f", "-", *arguments, documents=(document(spec=slice_),))

    assert result.exit_code == 0
    assert "on 1 GPU of 39.2 GiB" in result.stdout


def test_one_request_and_one_gpu_are_singular() -> None:
    result = run("fit", "--gpu", "h100", "--gpus", "1", "--context", "131072")

    assert "on 1 GPU of h100 (79.6 GiB): fits" in result.stdout
    assert "at once              1 request of 128k" in result.stdout
