"""The command line: run, activate, render, fit, crd."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from mistral_operator import cli_fit
from mistral_operator.api import Resource, parse_spec
from mistral_operator.api.crd import custom_resource_definition
from mistral_operator.api.manifest_file import InvalidManifest, read_resources
from mistral_operator.api.spec import Spec
from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.fit.cards import GIB, Card, card_named
from mistral_operator.fit.gpu_memory import parse_version
from mistral_operator.kube.errors import CannotStart, InvalidResource
from mistral_operator.kube.quantities import MAX_MEMORY, quantity_bytes
from mistral_operator.process.settings import (
    ActivatorSettings,
    Settings,
    SomeSettings,
    read_settings,
)
from mistral_operator.render import RenderContext, children
from mistral_operator.render.allowed import check_without_lists
from mistral_operator.render.file_notes import file_notes
from mistral_operator.render.pod_defaults import with_defaults

T = TypeVar("T")

_LONGEST_SHOWN = 32
"""Characters of an invalid option that are quoted."""

_TEXT = click.File(encoding="utf-8")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mistral-small-operator")
def main() -> None:
    """Operate Mistral-Small on vLLM in Kubernetes.

    For completion in bash: eval "$(_MISTRAL_OPERATOR_COMPLETE=bash_source mistral-operator)"
    """


def _variables(kind: type[SomeSettings]) -> str:
    """Return the environment variables of a process, each with its description."""
    prefix = kind.model_config["env_prefix"]
    lines = [
        f"  {prefix}{name.upper()}\n      {' '.join((field.description or '').split())}"
        for name, field in kind.model_fields.items()
    ]
    # Click wraps paragraphs, unless they begin with this mark.
    return "\b\nVariables:\n" + "\n".join(lines)


@main.command(epilog=_variables(Settings))
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


@main.command(epilog=_variables(ActivatorSettings))
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
    """Print the child objects of a resource, without a cluster.

    Notes on stderr say what the installation has to allow. Its settings are those of `run`:
    environment variables MISTRAL_OPERATOR_<NAME>, which `helm template` shows.
    """
    settings = _settings(Settings)
    context = settings.render_context(pod_monitors=pod_monitor, scaled_objects=scaled_object)
    if server_image:
        context = replace(context, server_image=server_image)
    resources = _resources(source)
    for resource in resources:
        _check_allowed(resource, context)
    for resource in resources:
        for child in children(with_defaults(resource, context), context):
            click.echo("---")
            click.echo(to_yaml(child), nl=False)


@main.command(name="fit")
@click.option(
    "-f", "--file", "source", type=_TEXT, help="Resource file; - is stdin. Unset: `spec: {}`."
)
@click.option("--gpu", help="Name of the GPU, such as h100, l40s or a100-80gb.")
@click.option(
    "--gpu-memory",
    help="Memory of one GPU as nvidia-smi shows it, such as 81559Mi. Unset: spec.pod.gpu.memory.",
)
@click.option(
    "--gpus", type=click.Choice(["1", "2", "4", "8"]), help="GPUs of each replica. Default: 2."
)
@click.option("--quantization", help="Quantization of the weights, such as fp8.")
@click.option("--context", type=int, help="Context length in tokens. Unset: the longest that fits.")
@click.option(
    "--engine-version", help="Version of vLLM, such as 0.26. Unset: that of the server image."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "table", "json"]),
    help="Format. Default: text, or a table of all known GPUs if none is named.",
)
def fit_command(
    source: IO[str] | None,
    gpu: str | None,
    gpu_memory: str | None,
    engine_version: str | None,
    output: str | None,
    **settings: Any,
) -> None:
    """Check whether a resource fits its GPUs.

    Prints the memory of each part, the size of the KV cache and, if it does not fit, what helps.
    Without a GPU, it compares all that it knows. Exits with 1 if a resource does not fit.
    """
    if gpu is not None and gpu_memory is not None:
        raise click.UsageError("--gpu and --gpu-memory exclude each other: remove one of them")
    card = None if gpu is None else _card(gpu)
    option = None if gpu_memory is None else _gpu_memory(gpu_memory, "--gpu-memory")
    memory = option if card is None else card.memory_mib * 1024**2
    _check_version(engine_version)
    specs = [resource.spec for resource in _resources(source)] if source else [parse_spec({})]
    try:
        specs = [cli_fit.with_options(spec, **settings) for spec in specs]
    except InvalidResource as error:
        raise click.ClickException(str(error)) from error
    for spec in specs:
        if spec.device == "cpu":
            click.echo(
                f"{spec.model.id} runs on CPUs: there is no GPU memory to check",
                err=output == "json",
            )
    on_gpus = [spec for spec in specs if spec.device != "cpu"]
    if memory is None or card is not None:
        for spec in on_gpus:
            cli_fit.check_no_slice(spec, own=memory is None)
    named = memory is not None or any(spec.pod.gpu.memory for spec in on_gpus)
    if not named and (source is None or output is not None):
        every = [one for spec in on_gpus for one in cli_fit.every_card(spec, engine_version)]
        cli_fit.print_cases(every, output or "table")
        return
    cases = [cli_fit.case(spec, _memory_of(spec, memory), card, engine_version) for spec in on_gpus]
    cli_fit.print_cases(cases, output or "text")
    if not all(one.fits for one in cases):
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


def _check_allowed(resource: Resource, context: RenderContext) -> None:
    """Check what the operator checks beside the fields, and say what depends on the cluster."""
    try:
        check_without_lists(resource.spec, context)
    except InvalidResource as error:
        raise click.ClickException(f"{resource.name}: {error}") from error
    for note in file_notes(resource, context):
        click.echo(f"Note: {note}", err=True)


def _card(name: str) -> Card:
    try:
        return card_named(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--gpu") from error


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
            f"{shown} is less than 1 GiB: {_meant(shown)}",
            param_hint=origin,
        )
    return memory


def _meant(text: str) -> str:
    if not text.isdigit():
        return "write the unit, such as 81559Mi"
    return f"did you mean {text}{'Gi' if len(text) < 4 else 'Mi'}?"


def _memory_of(spec: Spec, option: int | None) -> int:
    """Return the memory of one GPU: the option, or else the field of the resource."""
    if option is not None:
        return option
    if spec.pod.gpu.memory is None:
        raise click.UsageError(
            "the memory of one GPU is not set: pass --gpu-memory, such as 81559Mi, or set"
            " spec.pod.gpu.memory; --gpu takes a name, such as h100, and -o table compares all"
        )
    return _gpu_memory(spec.pod.gpu.memory, "spec.pod.gpu.memory")


def _check_version(version: str | None) -> None:
    if version is not None and parse_version(version) is None:
        raise click.BadParameter(
            f"{version!r} is not a version of vLLM: write one such as 0.26 or 0.32.0",
            param_hint="--engine-version",
        )
