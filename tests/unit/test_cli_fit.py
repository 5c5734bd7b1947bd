"""The command `fit`, and what it says of mistakes."""

from typing import Any

import pytest

from operator_commands import H100, document, run


def test_fit_without_a_file_checks_the_recommended_endpoint() -> None:
    result = run("fit", "--gpu-memory", H100)

    assert result.exit_code == 0
    assert "on 2 GPUs of 79.6 GiB: fits" in result.stdout
    assert "605296 per replica; one request may need 8192" in result.stdout
    assert "longest context       131072 tokens" in result.stdout
    assert "at once              18 requests of 32k" in result.stdout
    assert "would help" not in result.stdout


def test_fit_reproduces_the_figure_measured_on_two_gpus_within_half_a_percent() -> None:
    result = run("fit", "--gpu-memory", "143771Mi")

    assert "CUDA graphs             0.87 GiB" in result.stdout
    assert "1320416 per replica" in result.stdout  # vLLM 0.32 reported 1,320,464


def test_fit_prints_advice_and_fails() -> None:
    one_gpu = document(spec={"engine": {"tensorParallelSize": 1}})

    result = run("fit", "-f", "-", "--gpu-memory", "40Gi", documents=(document(), one_gpu))

    assert result.exit_code == 1
    assert "on 2 GPUs of 40.0 GiB: fits" in result.stdout
    assert "on 1 GPU of 40.0 GiB: does not fit" in result.stdout
    assert "would help: set spec.engine.tensorParallelSize to 2" in result.stdout


MISTYPED_OPTIONS = {
    "a word for the memory": (
        ("--gpu-memory", "lots"),
        "'lots' is not a quantity: write the memory of one GPU such as 81559Mi or 80Gi",
    ),
    "a unit that Kubernetes does not know": (
        ("--gpu-memory", "80GB"),
        "'80GB' is not a quantity: write the memory of one GPU such as 81559Mi or 80Gi",
    ),
    "no memory": (("--gpu-memory", ""), "'' is not a quantity: write the memory"),
    "the memory without its unit": (
        ("--gpu-memory", "81559"),
        "81559 is less than 1 GiB: did you mean 81559Mi?",
    ),
    "more than any GPU has": (
        ("--gpu-memory", "81559Ti"),
        "81559Ti is more than 1Pi: check the unit, such as 81559Mi",
    ),
    "hundreds of digits": (
        ("--gpu-memory", "1" + "0" * 400 + "Gi"),
        f"'1{'0' * 31}...' is not a quantity: write the memory of one GPU",
    ),
    "thousands of digits": (
        ("--gpu-memory", "1" + "0" * 5000),
        f"'1{'0' * 31}...' is not a quantity: write the memory of one GPU",
    ),
    "a long text": (("--gpu-memory", "x" * 5000), f"'{'x' * 32}...' is not a quantity: write"),
    "the smallest unit": (("--gpu-memory", "81559Ki"), "81559Ki is less than 1 GiB: write"),
    "a small exponent": (
        ("--gpu-memory", "1e3"),
        "1e3 is less than 1 GiB: write the unit, such as 81559Mi",
    ),
    "the name of a version": (
        ("--gpu-memory", H100, "--engine-version", "latest"),
        "'latest' is not a version of vLLM: write one such as 0.26 or 0.32.0",
    ),
    "half a version": (("--gpu-memory", H100, "--engine-version", "32"), "'32' is not a version"),
    "no version": (("--gpu-memory", H100, "--engine-version", ""), "'' is not a version"),
}


@pytest.mark.parametrize(
    ("options", "message"), MISTYPED_OPTIONS.values(), ids=MISTYPED_OPTIONS.keys()
)
def test_an_invalid_option_of_fit_is_rejected_with_the_format(
    options: tuple[str, ...], message: str
) -> None:
    result = run("fit", *options)

    assert result.exit_code == 2
    assert f"Invalid value for {options[-2]}: {message}" in " ".join(result.stderr.split())
    assert result.stdout == ""


SOURCES = {
    "the pinned version": ((H100,), {}, "  figures              measured with vLLM 0.32"),
    "the configured version": (
        (H100, "--engine-version", "0.26.0"),
        {},
        "  figures              measured with vLLM 0.26\n",
    ),
    "a version between two that were measured": (
        (H100, "--engine-version", "0.31.9"),
        {},
        (
            "  figures              measured with vLLM 0.26; 0.31 was not measured and may take"
            " more memory, as 0.32 does\n"
        ),
    ),
    "a version after all that were measured": (
        (H100, "--engine-version", "0.33.0"),
        {},
        "  figures              measured with vLLM 0.32; 0.33 was not measured\n",
    ),
    "a version before all that were measured": (
        (H100, "--engine-version", "0.17"),
        {},
        "  figures              measured with vLLM 0.26; 0.17 was not measured\n",
    ),
    "more GPUs than were measured": (
        (H100,),
        {"engine": {"tensorParallelSize": 4}},
        "  figures              computed for 4 GPUs from those measured with vLLM 0.32\n",
    ),
    "batched tokens that were measured on one GPU": (
        ("143771Mi",),
        {"engine": {"tensorParallelSize": 1, "maxBatchedTokens": 16_384}},
        "  figures              measured with vLLM 0.32\n",
    ),
    "and not on two": (
        (H100,),
        {"engine": {"maxBatchedTokens": 16_384}},
        "  figures              computed for 16384 batched tokens from those measured with",
    ),
    "speculation that was measured on one GPU": (
        ("143771Mi",),
        {"engine": {"tensorParallelSize": 1, "speculation": {}}},
        "  figures              measured with vLLM 0.32\n",
    ),
    "speculation that was not measured on two": (
        (H100,),
        {"engine": {"speculation": {}}},
        (
            "  figures              computed for speculative decoding from those measured with vLLM"
            " 0.32\n"
        ),
    ),
    "weights and a service that were not measured": (
        (H100,),
        {
            "model": {"quantization": "awq", "format": "huggingface"},
            "images": {"perPrompt": 0},
            "engine": {"tensorParallelSize": 8, "maxBatchedTokens": 2048},
        },
        (
            "  figures              computed for 8 GPUs, 2048 batched tokens, 4-bit weights, text"
            " only from those measured with vLLM 0.32\n"
        ),
    ),
    "a measured card": (
        ("143771Mi",),
        {},
        "usable memory         139.80 GiB, as measured on an H200\n",
    ),
    "a card that is a little larger than one that was measured": (
        ("81920Mi",),
        {},
        "usable memory          79.18 GiB, that of an H100 is assumed; this GPU was not",
    ),
    "another card": (
        ("40Gi",),
        {},
        "usable memory          39.00 GiB, 97.5% is assumed; this GPU was not measured",
    ),
}


@pytest.mark.parametrize(("options", "spec", "line"), SOURCES.values(), ids=SOURCES.keys())
def test_fit_prints_the_source_of_its_figures(
    options: tuple[str, ...], spec: dict[str, Any], line: str
) -> None:
    result = run("fit", "-f", "-", "--gpu-memory", *options, documents=(document(spec=spec),))

    assert result.exit_code == 0
    assert line in result.stdout


def with_gpu(memory: Any, **spec: Any) -> dict[str, Any]:
    """Return a resource that says itself how much memory a GPU has."""
    return document(spec={"pod": {"gpu": {"memory": memory}}, **spec})


def test_fit_uses_the_memory_in_the_resource() -> None:
    result = run("fit", "-f", "-", documents=(with_gpu("81559Mi"), with_gpu("16Gi")))

    assert result.exit_code == 1
    assert "on 2 GPUs of 79.6 GiB: fits" in result.stdout
    assert "on 2 GPUs of 16.0 GiB: does not fit" in result.stdout


def test_fit_reports_that_the_option_overrides_the_memory_of_the_resource() -> None:
    results = [
        run("fit", "-f", "-", "--gpu-memory", H100, documents=(with_gpu(memory),)).stdout
        for memory in ("16Gi", "83516416Ki")
    ]

    line = "--gpu-memory overrides spec.pod.gpu.memory"
    assert f"{line} (16Gi)" in results[0]
    assert line not in results[1]


def test_fit_of_a_file_without_a_memory_is_rejected_with_a_remedy() -> None:
    result = run("fit", "-f", "-", documents=(document(),))

    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert "pass --gpu-memory, such as 81559Mi, or set spec.pod.gpu.memory" in message


@pytest.mark.parametrize(("memory", "meant"), [(80, "80Gi"), (81559, "81559Mi")])
def test_a_memory_without_its_unit_is_rejected_with_the_one_that_was_meant(
    memory: int, meant: str
) -> None:
    result = run("fit", "-f", "-", documents=(with_gpu(memory),))

    assert result.exit_code == 1
    assert f"is less than 1Gi: did you mean {meant}?" in result.stderr


def test_fit_needs_no_memory_of_gpus_for_a_model_on_cpus() -> None:
    engine = {"kvCache": {"memory": "4Gi"}}
    result = run("fit", "-f", "-", documents=(document(spec={"device": "cpu", "engine": engine}),))

    assert result.exit_code == 0


def test_fit_reports_if_only_more_memory_helps() -> None:
    result = run("fit", "--gpu-memory", "2Gi")

    assert result.exit_code == 1
    assert "  would help: GPUs with more memory" in result.stdout


def test_fit_reports_if_only_the_reserved_block_is_missing() -> None:
    engine = {"contextLength": 8192, "extraArgs": ["--num-gpu-blocks-override=512"]}
    configured = document(spec={"engine": engine})
    result = run("fit", "-f", "-", "--gpu-memory", H100, documents=(configured,))

    assert "8192 per replica; one request may need 8192\n  one request can use 8176 of" in (
        result.stdout
    )


def test_fit_prints_the_memory_that_a_fixed_cache_claims() -> None:
    spec = {"engine": {"kvCache": {"memory": "500Gi"}}}
    result = run("fit", "-f", "-", "--gpu-memory", H100, documents=(document(spec=spec),))

    assert result.exit_code == 1
    assert "  525.08 GiB must be free at startup, but only 77.75 GiB are\n" in result.stdout


def test_fit_uses_the_configured_version() -> None:
    eager = {"tensorParallelSize": 1, "extraArgs": ["--enforce-eager"]}
    before = ("--gpu-memory", H100, "--engine-version", "0.26")

    result = run("fit", "-f", "-", *before, documents=(document(spec={"engine": eager}),))

    assert "161136 per replica" in result.stdout


def test_fit_shows_no_negative_memory_for_a_gpu_that_is_too_small() -> None:
    result = run("fit", "--gpu-memory", "1Gi")

    assert result.exit_code == 1
    assert "GiB must be free at startup, but only 0.00 GiB are" in result.stdout
    assert "-" not in result.stdout.partition("figures")[2]


@pytest.mark.parametrize(
    ("model", "shown"),
    [({"id": "other/model"}, True), ({"servedName": "other"}, False)],
    ids=["another model", "another name"],
)
def test_fit_shows_that_its_figures_are_those_of_one_model(
    model: dict[str, str], shown: bool
) -> None:
    resource = document(spec={"model": model})

    result = run("fit", "-f", "-", "--gpu-memory", H100, documents=(resource,))

    assert ("  all figures are those of Mistral-Small-3.2" in result.stdout) == shown
