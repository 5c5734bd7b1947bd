"""The command line: run, activate, render, fit, crd."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

import click

from mistral_operator.api import DEFAULT_MODEL, Resource, parse_spec
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.api.manifest_file import InvalidManifest, read_resources
from mistral_operator.api.spec import Spec
from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.fit import Fit, FitRequest, fit, source_of_figures
from mistral_operator.fit.gpu_memory import GIB, parse_version, usable_memory
from mistral_operator.kube.errors import CannotStart
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.quantities import MAX_MEMORY, quantity_bytes
from mistral_operator.process.settings import (
    ActivatorSettings,
    Settings,
    SomeSettings,
    read_settings,
)
from mistral_operator.render import children
from mistral_operator.render.pod_defaults import with_defaults
from mistral_operator.status.model_fits import MORE_MEMORY, fit_request, may_be_compressed

T = TypeVar("T")

_LONGEST_SHOWN = 32
"""Characters of an invalid option that are quoted."""

_TEXT = click.File(encoding="utf-8")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mistral-small-operator")
def main() -> None:
    """Operate Mistral-Small on vLLM in Kubernetes."""


@main.command()
def run() -> None:
    """Run the operator. Settings are environment variables MISTRAL_OPERATOR_<NAME>."""
    # Kopf and the client take a second to import; the other commands do without.
    from mistral_operator.process import logs
    from mistral_operator.process import operator_process as runtime

    settings = _settings(Settings)
    logs.configure(settings)
    # Every watched object creates hundreds of short-lived containers without cycles. Python's
    # default threshold of 700 would traverse the store of a fleet again and again.
    gc.set_threshold(10_000, 20, 20)
    sys.exit(_run(runtime.run_operator(settings)))


@main.command()
def activate() -> None:
    """Run the activator. Settings are environment variables MISTRAL_ACTIVATOR_<NAME>."""
    from mistral_operator.activator import process
    from mistral_operator.process import logs

    settings = _settings(ActivatorSettings)
    logs.configure(settings)
    _run(process.run_activator(settings))


@main.command()
@click.option(
    "-f", "--file", "source", type=_TEXT, required=True, help="Resource file; - is stdin."
)
@click.option("--server-image", help="Server image for resources that do not set one.")
@click.option("--pod-monitor/--no-pod-monitor", default=False, help="Include the PodMonitor.")
@click.option("--scaled-object/--no-scaled-object", default=False, help="Include the ScaledObject.")
def render(
    source: IO[str], server_image: str | None, pod_monitor: bool, scaled_object: bool
) -> None:
    """Print the child objects of a resource, without a cluster."""
    settings = _settings(Settings)
    context = settings.render_context(pod_monitors=pod_monitor, scaled_objects=scaled_object)
    if server_image:
        context = replace(context, server_image=server_image)
    for resource in _resources(source):
        for child in children(with_defaults(resource, context.pods), context):
            click.echo("---")
            click.echo(to_yaml(child), nl=False)


@main.command(name="fit")
@click.option(
    "-f", "--file", "source", type=_TEXT, help="Resource file; - is stdin. Unset: `spec: {}`."
)
@click.option(
    "--gpu-memory",
    help="Memory of one GPU as nvidia-smi shows it, such as 81559Mi. Unset: spec.pod.gpu.memory.",
)
@click.option(
    "--engine-version", help="Version of vLLM, such as 0.26. Unset: that of the server image."
)
def fit_command(source: IO[str] | None, gpu_memory: str | None, engine_version: str | None) -> None:
    """Check whether a resource fits its GPUs.

    Prints the memory of each part, the size of the KV cache and, if it does not fit, what helps.
    """
    specs = [resource.spec for resource in _resources(source)] if source else [parse_spec({})]
    option = None if gpu_memory is None else _gpu_memory(gpu_memory, "--gpu-memory")
    _check_version(engine_version)
    for spec in specs:
        if spec.device == "cpu":
            click.echo(f"{spec.model.id} runs on CPUs: there is no GPU memory to check")
    on_gpus = [spec for spec in specs if spec.device != "cpu"]
    requests = [fit_request(one, _memory_of(one, option), engine_version) for one in on_gpus]
    results = [fit(request) for request in requests]
    for spec, request, result in zip(on_gpus, requests, results, strict=True):
        click.echo(_fit_text(spec, request, result))
    if not all(result.fits for result in results):
        raise SystemExit(1)


@main.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Output file. Unset: stdout.")
def crd(output: Path | None) -> None:
    """Print the CustomResourceDefinition."""
    text = to_yaml(custom_resource_definition())
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            output.write_text(text)
        except OSError as error:
            raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error


def _settings(kind: type[SomeSettings]) -> SomeSettings:
    try:
        return read_settings(kind)
    except CannotStart as error:
        raise click.ClickException(str(error)) from error


def _run(process: Coroutine[None, None, T]) -> T:
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(process)
    except CannotStart as error:
        raise click.ClickException(str(error)) from error


def _resources(source: IO[str]) -> list[Resource]:
    try:
        return read_resources(source, source.name)
    except InvalidManifest as error:
        raise click.ClickException(str(error)) from error


def _gpu_memory(text: str, origin: str) -> int:
    """Parse the memory of one GPU in bytes."""
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    try:
        memory = quantity_bytes(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{shown!r} is not a quantity: write the memory of one GPU such as 81559Mi or 80Gi",
            param_hint=origin,
        ) from error
    if memory > MAX_MEMORY:
        raise click.BadParameter(
            f"{shown} is more than 1Pi: check the unit, such as 81559Mi", param_hint=origin
        )
    if memory < GIB:
        raise click.BadParameter(
            f"{shown} is less than 1 GiB: write the unit, such as 81559Mi",
            param_hint=origin,
        )
    return memory


def _memory_of(spec: Spec, option: int | None) -> int:
    """Return the memory of one GPU: the option, or else the field of the resource."""
    if option is not None:
        return option
    if spec.pod.gpu.memory is None:
        raise click.UsageError(
            "the memory of one GPU is not set: pass --gpu-memory, such as 81559Mi, or set"
            " spec.pod.gpu.memory"
        )
    return _gpu_memory(spec.pod.gpu.memory, "spec.pod.gpu.memory")


def _check_version(version: str | None) -> None:
    if version is not None and parse_version(version) is None:
        raise click.BadParameter(
            f"{version!r} is not a version of vLLM: write one such as 0.26 or 0.32.0",
            param_hint="--engine-version",
        )


def _fit_text(spec: Spec, request: FitRequest, result: Fit) -> str:
    ranks, memory = request.tensor_parallel_size, request.gpu_memory_bytes
    usable, own = usable_memory(memory), spec.pod.gpu.memory
    lines = [
        (
            f"{spec.model.id} on {counted(ranks, 'GPU')} of {memory / GIB:.1f} GiB:"
            f" {'fits' if result.fits else 'does not fit'}"
        ),
        f"  figures              {source_of_figures(request)}",
        f"  usable memory        {usable.gib:7.2f} GiB, {usable.source}",
        f"  budget per GPU       {result.budget_gib:7.2f} GiB",
        f"  weights              {result.weights_gib:7.2f} GiB",
        f"  activations          {result.activations_gib:7.2f} GiB",
        f"  CUDA graphs          {result.graphs_gib:7.2f} GiB",
        f"  KV cache             {result.kv_cache_gib:7.2f} GiB",
        (
            f"  KV cache tokens      {result.kv_cache_tokens:7d} per replica"
            f" ({result.needed_tokens} needed)"
        ),
    ]
    if spec.model.id != DEFAULT_MODEL:
        lines.append(
            "  all figures are those of Mistral-Small-3.2; a model of another architecture needs"
            " other amounts"
        )
    if own is not None and quantity_bytes(own) != memory:
        lines.append(f"  --gpu-memory overrides spec.pod.gpu.memory ({own})")
    if result.longest_request < result.needed_tokens <= result.kv_cache_tokens:
        lines.append(f"  one request can use {result.longest_request} of these tokens")
    if not result.starts:
        lines.append(
            f"  {result.claimed_gib:.2f} GiB must be free at startup, but only"
            f" {result.free_gib:.2f} GiB are"
        )
    if not result.fits:
        lines += [f"  would help: {advice}" for advice in result.advice or (MORE_MEMORY,)]
        if may_be_compressed(spec):
            lines.append(
                "  16-bit weights are assumed; a checkpoint of lower precision needs less memory"
            )
    return "\n".join(lines)
