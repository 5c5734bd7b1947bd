"""The command `fit`: whether resources fit GPUs, as text, table or JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from mistral_operator.api import DEFAULT_MODEL, parse_spec
from mistral_operator.api.engine import MAX_CONTEXT
from mistral_operator.api.spec import Spec
from mistral_operator.fit import Fit, FitRequest, fit, source_of_figures
from mistral_operator.fit.cards import CARDS, GIB, Card, usable_memory
from mistral_operator.fit.suitability import GpuTraits, other_vendor
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.quantities import quantity_bytes
from mistral_operator.status.model_fits import (
    MORE_MEMORY,
    fit_request,
    may_be_compressed,
    why_unsuitable,
)
from mistral_operator.watch.nodes import is_slice, memory_label

_MIB = 1024**2
_USUAL_CONTEXT = 32_768
"""Tokens of the requests that are counted where the context is not set."""


@dataclass(frozen=True, slots=True)
class Case:
    """A resource on GPUs."""

    spec: Spec
    memory: int
    """Of one GPU, in bytes."""
    card: Card | None
    request: FitRequest
    result: Fit
    unsuitable: str | None
    """Why these GPUs cannot run it, whatever their memory."""

    @property
    def fits(self) -> bool:
        """Whether it runs."""
        return self.unsuitable is None and self.result.fits

    @property
    def context(self) -> int:
        """The longest context of a request."""
        return min(self.result.longest_request, self.request.context_length or MAX_CONTEXT)

    @property
    def counted_tokens(self) -> int:
        """Tokens of the requests that are counted."""
        return self.request.context_length or min(_USUAL_CONTEXT, self.context)

    @property
    def requests(self) -> int:
        """Number of requests of this length that the KV cache of a replica holds."""
        longest = self.result.longest_request
        return longest // self.counted_tokens if self.counted_tokens else 0


def case(spec: Spec, memory: int, card: Card | None, engine_version: str | None) -> Case:
    """Compute one case."""
    request = fit_request(spec, memory, engine_version)
    return Case(spec, memory, card, request, fit(request), _unsuitable(spec, card))


def every_card(spec: Spec, engine_version: str | None) -> list[Case]:
    """Compute a resource on every GPU that is known by name."""
    return [case(spec, one.memory_mib * _MIB, one, engine_version) for one in CARDS]


def _unsuitable(spec: Spec, card: Card | None) -> str | None:
    resource = spec.pod.gpu.resource_name
    if (vendor := other_vendor(resource)) is not None:
        return f"{resource} is a device of {vendor}, and the server image is for GPUs of NVIDIA"
    major = None if card is None else card.compute_major
    return why_unsuitable(spec, GpuTraits(compute_major=major, slices=is_slice(resource)))


def with_options(
    spec: Spec, *, gpus: str | None, quantization: str | None, context: int | None
) -> Spec:
    """Return a spec with the settings of options, checked as those of a file.

    Raises:
        InvalidResource: a setting is invalid.
    """
    document = spec.model_dump(by_alias=True, exclude_none=True)
    if gpus is not None:
        document["engine"]["tensorParallelSize"] = int(gpus)
    if context is not None:
        document["engine"]["contextLength"] = context
    if quantization is not None:
        document["model"]["quantization"] = quantization
        if quantization in {"awq", "gptq"}:
            document["model"]["format"] = "huggingface"
    return parse_spec(document)


def check_no_slice(spec: Spec, *, own: bool) -> None:
    """Refuse whole GPUs for a MIG slice, which has only a part of their memory.

    Args:
        spec: the resource.
        own: whether `spec.pod.gpu.memory` counts, if it is set.

    Raises:
        click.UsageError: it is one.
    """
    resource = spec.pod.gpu.resource_name
    if not is_slice(resource) or spec.engine.tensor_parallel_size > 1:
        return  # several slices never fit, and the output says so
    if own and spec.pod.gpu.memory is not None:
        return
    raise click.UsageError(
        f"{resource} is a MIG slice, which has only a part of the memory of a GPU: pass"
        f" --gpu-memory with the number in the node label {memory_label(resource)}, such as"
        " 9728Mi of a slice of 10 GB"
    )


def as_json(cases: Sequence[Case]) -> str:
    """Return cases as a list of JSON objects."""
    return json.dumps([_document(one) for one in cases], indent=2)


def _document(one: Case) -> dict[str, Any]:
    result = one.result
    return {
        "model": one.spec.model.id,
        "gpu": one.card.name if one.card else None,
        "gpuMemoryMiB": one.memory // _MIB,
        "gpus": one.request.tensor_parallel_size,
        "fits": one.fits,
        "unsuitable": one.unsuitable,
        "usableGiB": round(usable_memory(one.memory).gib, 2),
        "budgetGiB": round(result.budget_gib, 2),
        "weightsGiB": round(result.weights_gib, 2),
        "activationsGiB": round(result.activations_gib, 2),
        "cudaGraphsGiB": round(result.graphs_gib, 2),
        "kvCacheGiB": round(result.kv_cache_gib, 2),
        "kvCacheTokens": result.kv_cache_tokens,
        "longestContext": one.context,
        "requests": {"count": one.requests, "tokens": one.counted_tokens},
        "advice": list(result.advice),
        "figures": source_of_figures(one.request),
    }


_ROW = "{:<12} {:>11} {:>5}  {:<5} {:>10} {:>9}  {}"


def as_table(cases: Sequence[Case]) -> str:
    """Return cases as a table of one line each."""
    lines = [_ROW.format("GPU", "MEMORY", "GPUS", "FITS", "KV TOKENS", "CONTEXT", "AT ONCE")]
    for one in cases:
        at_once = (
            _at_once(one) if one.fits else (one.unsuitable or "too little memory").partition(":")[0]
        )
        lines.append(
            _ROW.format(
                one.card.name if one.card else "-",
                f"{one.memory // _MIB}Mi",
                one.request.tensor_parallel_size,
                "yes" if one.fits else "no",
                one.result.kv_cache_tokens,
                one.context if one.fits else "-",
                at_once,
            )
        )
    return "\n".join(lines)


def _at_once(one: Case) -> str:
    return f"{counted(one.requests, 'request')} of {_tokens(one.counted_tokens)}"


def _tokens(number: int) -> str:
    return f"{number // 1024}k" if number % 1024 == 0 else f"{number} tokens"


def as_text(one: Case) -> str:
    """Return a case with all its parts."""
    ranks, memory = one.request.tensor_parallel_size, one.memory
    name = f"{one.card.name} ({memory / GIB:.1f} GiB)" if one.card else f"{memory / GIB:.1f} GiB"
    verdict = "fits" if one.fits else "does not fit"
    head = f"{one.spec.model.id} on {counted(ranks, 'GPU')} of {name}: "
    if one.unsuitable is not None:
        return f"{head}cannot run\n  {one.unsuitable}"
    return "\n".join([f"{head}{verdict}", *_parts(one), *_remarks(one)])


def _parts(one: Case) -> Iterator[str]:
    result, usable = one.result, usable_memory(one.memory)
    yield f"  figures              {source_of_figures(one.request)}"
    yield f"  usable memory        {usable.gib:7.2f} GiB, {usable.source}"
    yield f"  budget per GPU       {result.budget_gib:7.2f} GiB"
    yield f"  weights              {result.weights_gib:7.2f} GiB"
    yield f"  activations          {result.activations_gib:7.2f} GiB"
    yield f"  CUDA graphs          {result.graphs_gib:7.2f} GiB"
    yield f"  KV cache             {result.kv_cache_gib:7.2f} GiB"
    yield (
        f"  KV cache tokens      {result.kv_cache_tokens:7d} per replica; one request may need"
        f" {result.needed_tokens}"
    )
    if one.fits:
        yield f"  longest context      {one.context:7d} tokens"
        yield f"  at once              {_at_once(one)}"


def _remarks(one: Case) -> Iterator[str]:
    spec, result, own = one.spec, one.result, one.spec.pod.gpu.memory
    if spec.model.id != DEFAULT_MODEL:
        yield (
            "  all figures are those of Mistral-Small-3.2; a model of another architecture needs"
            " other amounts"
        )
    if own is not None and quantity_bytes(own) != one.memory:
        option = "--gpu" if one.card else "--gpu-memory"
        yield f"  {option} overrides spec.pod.gpu.memory ({own})"
    if result.longest_request < result.needed_tokens <= result.kv_cache_tokens:
        yield f"  one request can use {result.longest_request} of these tokens"
    if not result.starts:
        yield (
            f"  {result.claimed_gib:.2f} GiB must be free at startup, but only"
            f" {result.free_gib:.2f} GiB are"
        )
    if not result.fits:
        yield from (f"  would help: {advice}" for advice in result.advice or (MORE_MEMORY,))
        if may_be_compressed(spec):
            yield "  16-bit weights are assumed; a checkpoint of lower precision needs less memory"


def print_cases(cases: Sequence[Case], output: str) -> None:
    """Print cases in a format."""
    match output:
        case "json":
            click.echo(as_json(cases))
        case "table":
            click.echo(as_table(cases))
        case _:
            for one in cases:
                click.echo(as_text(one))
