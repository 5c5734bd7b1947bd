"""One endpoint as text for a terminal. Pure."""

from collections.abc import Iterator, Sequence

from mistral_operator.api import ConditionType
from mistral_operator.api.model import ModelSource
from mistral_operator.api.spec import Spec
from mistral_operator.api.status import CompiledCode
from mistral_operator.kube.plurals import counted
from mistral_operator.plugin.columns import age, fields, paragraphs, table
from mistral_operator.plugin.endpoint import Endpoint, Replica
from mistral_operator.plugin.next_steps import Step, next_steps

_GB = 10**9
_EVENTS = 10
"""Events that are shown."""
_UNREAD = "  not known: they could not be read"
_ACTIVATOR = {
    True: "receives the requests",
    False: "is not on the request path",
    None: "not known: the EndpointSlices could not be read",
}
"""Whether the Service leads to it."""


def endpoint_text(endpoint: Endpoint, notes: Sequence[str], now: str) -> str:
    """Return an endpoint as text.

    Args:
        endpoint: what is known of it.
        notes: what could not be read, each a sentence.
        now: the time, for ages.
    """
    lines = [f"Endpoint {endpoint.namespace}/{endpoint.name}", *fields(_summary(endpoint, now))]
    lines += _section("Conditions", _conditions(endpoint, now))
    lines += _section("Replicas", _replicas(endpoint.replicas, now))
    lines += _section("Prefetch", _prefetch(endpoint.prefetch_pods, now))
    lines += _section("Memory failures", list(_memory(endpoint, now)))
    lines += _section("Events", _events(endpoint, now))
    lines += _section("What to do", _steps(next_steps(endpoint)))
    lines += _section("Not shown", paragraphs(notes))
    return "\n".join(lines)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _summary(endpoint: Endpoint, now: str) -> Iterator[tuple[str, str]]:
    status, spec = endpoint.status, endpoint.spec
    ready = endpoint.condition(ConditionType.READY)
    if endpoint.terminating:
        yield "Ready", "the resource is being deleted"
    elif ready is None:
        yield "Ready", "not reported"
    else:
        since = age(ready.last_transition_time, now)
        yield "Ready", f"{ready.status}, {ready.reason}" + (f" for {since}" if since else "")
        yield "", ready.message
    if spec is None:
        yield "Spec", "this program cannot read it: install the program of the operator's version"
    else:
        yield from _desired(spec)
    if endpoint.edit is not None:
        yield "Edited", f"{age(endpoint.edit.time, now)} ago, by {endpoint.edit.program}"
    yield "URL", status.url or ""
    yield "Replicas", _counts(endpoint)
    yield from _running(endpoint, now)


def _desired(spec: Spec) -> Iterator[tuple[str, str]]:
    model = spec.model
    yield "Model", f"{model.id}@{model.revision} from {_source(model.source)}"
    if model.served_name is not None:
        yield "Served as", model.served_name
    if spec.device == "cpu":
        yield "Hardware", f"CPUs, tensor parallelism {spec.engine.tensor_parallel_size}"
    else:
        ranks = spec.engine.tensor_parallel_size
        yield "Hardware", f"{ranks} {spec.pod.gpu.resource_name} per replica"
    yield "API keys", f"in Secret {spec.gate.api_keys.secret}" if spec.gate.api_keys else "none"


def _source(source: ModelSource) -> str:
    if source.persistent_volume_claim is not None:
        return f"PersistentVolumeClaim {source.persistent_volume_claim.claim_name}"
    if source.image is not None:
        return f"image {source.image.reference}"
    endpoint = source.hub.endpoint if source.hub else None
    return "the hub" if endpoint is None else f"the hub at {endpoint}"


def _counts(endpoint: Endpoint) -> str:
    status = endpoint.status
    return (
        f"{status.ready_replicas} of {status.desired_replicas} ready, {status.replicas} exist,"
        f" {status.updated_replicas} of them with the current settings"
    )


def _running(endpoint: Endpoint, now: str) -> Iterator[tuple[str, str]]:
    """Yield what runs, as far as it is reported."""
    status = endpoint.status
    if status.effective is not None:
        yield "Context", _context(endpoint)
        yield "Engine", f"vLLM {status.effective.vllm_version or 'of an unknown version'}"
    if status.compiled_code is not None:
        yield "Compiled code", _compiled_code(status.compiled_code)
    if status.fetch is not None:
        fetched, total = status.fetch.fetched_bytes, status.fetch.total_bytes
        of_total = "" if total is None else f" of {total / _GB:.1f}"
        yield "Fetched", f"{fetched / _GB:.1f}{of_total} GB"
    yield from _scaling(endpoint, now)


def _compiled_code(code: CompiledCode) -> str:
    if code.use == "NotKept":
        return f"not kept: {code.reason or 'the server gives no reason'}"
    return "loaded at the start" if code.use == "Loaded" else "kept for the next start"


def _context(endpoint: Endpoint) -> str:
    effective = endpoint.status.effective
    if effective is None or effective.context_length is None:
        return "not reported"
    cache = effective.kv_cache_tokens
    return f"{effective.context_length} tokens" + (
        "" if cache is None else f"; the KV cache of a replica holds {cache}"
    )


def _scaling(endpoint: Endpoint, now: str) -> Iterator[tuple[str, str]]:
    scaling = endpoint.spec and endpoint.spec.autoscaling
    if not scaling:
        return
    limits = f"{scaling.min_replicas} to {scaling.max_replicas} replicas, driver {scaling.driver}"
    decision = endpoint.status.autoscaling
    if decision is None:
        yield "Autoscaling", f"{limits}; no decision yet"
    else:
        yield "Autoscaling", f"{limits}; decided {counted(decision.replicas, 'replica')}"
        since = age(decision.time, now)
        yield "", f"{decision.reason}{f' {since} ago' if since else ''}: {decision.message}"
    if scaling.min_replicas == 0:
        yield "Activator", _ACTIVATOR[endpoint.activator]


def _conditions(endpoint: Endpoint, now: str) -> list[str]:
    lines, ready = [], endpoint.condition(ConditionType.READY)
    for one in endpoint.status.conditions:
        if one is ready:
            continue  # at the top
        since = age(one.last_transition_time, now)
        message = "" if ready is not None and one.message == ready.message else one.message
        lines.append((str(one.type), one.status, str(one.reason), since, message))
    if not lines:
        return []
    rows = table(("TYPE", "STATUS", "REASON", "FOR"), [(kind, *rest) for kind, *rest, _ in lines])
    texts = [paragraphs([message], "    ") if message else [] for *_, message in lines]
    return [
        rows[0],
        *(line for row, text in zip(rows[1:], texts, strict=True) for line in (row, *text)),
    ]


def _replicas(replicas: Sequence[Replica] | None, now: str) -> list[str]:
    if replicas is None:
        return [_UNREAD]
    if not replicas:
        return []
    return table(
        ("POD", "STATE", "RESTARTS", "AGE", "RUNNING", "WAITING", "KV CACHE", "NODE", "NODE GPUS"),
        [
            (
                one.facts.name,
                one.state,
                str(one.restarts),
                age(one.created, now),
                *_load(one),
                one.node,
                one.gpu,
            )
            for one in replicas
        ],
    )


def _prefetch(pods: Sequence[Replica] | None, now: str) -> list[str]:
    if not pods:
        return []  # usually there is none, and Replicas says that pods could not be read
    rows = [
        (one.facts.name, one.state, str(one.restarts), age(one.created, now), one.node)
        for one in pods
    ]
    return table(("POD", "STATE", "RESTARTS", "AGE", "NODE"), rows)


def _load(replica: Replica) -> tuple[str, str, str]:
    signal = replica.signal
    if signal is None or not signal.ready:
        return "", "", ""
    return str(signal.running), str(signal.waiting), f"{signal.kv_cache_usage:.0%}"


def _memory(endpoint: Endpoint, now: str) -> Iterator[str]:
    oom = endpoint.status.oom
    if oom is None:
        return
    totals = ", ".join(f"{one.count} {one.failure}" for one in oom.totals)
    yield from fields([("Total", totals)] if totals else [])
    for one in oom.events[-1:]:
        since = age(one.time, now)
        yield from fields(
            [("Last", f"{one.failure} in {one.pod}{f' {since} ago' if since else ''}")]
        )
        yield from fields([("", one.evidence)] if one.evidence else [])
    for step in oom.steps:
        change = f"{step.setting} from {step.before} to {step.after}: {step.outcome}"
        yield from fields([("Tried", change)])


def _events(endpoint: Endpoint, now: str) -> list[str]:
    if endpoint.happenings is None:
        return [_UNREAD]
    shown = endpoint.happenings[:_EVENTS]
    if not shown:
        return []
    return table(
        ("AGE", "TYPE", "REASON", "MESSAGE"),
        [(_when(one.time, one.count, now), one.type, one.reason, one.message) for one in shown],
    )


def _steps(steps: Sequence[Step]) -> list[str]:
    """Return the lines of steps; a command is not wrapped, so that it can be copied."""
    return [line for one in steps for line in _step(one)]


def _step(step: Step) -> list[str]:
    if not step.command:
        return paragraphs([step.text])
    return [*paragraphs([f"{step.text}:"]), f"    {step.command}"]


def _when(time: str, count: int, now: str) -> str:
    return age(time, now) + (f" (x{count})" if count > 1 else "")
