"""Remedies stay within their limits and come to an end, whatever fails."""

from hypothesis import given, settings
from hypothesis import strategies as st

from memory_failures import LONG, endpoint
from mistral_operator.api import Spec
from mistral_operator.kube.quantities import quantity_bytes
from mistral_server.contract import MEMORY_FAILURES, FailureClass

F = FailureClass

REPEATING = [
    F.KV_CACHE_TOO_SMALL,
    F.KV_CACHE_NONE,
    F.CUDA_OOM_LOAD,
    F.CUDA_OOM_WARMUP,
    F.CUDA_OOM_RUNTIME,
    F.SHM_EXHAUSTED,
    F.HOST_OOM,
    F.GPU_BUSY,
    F.INVALID_CONFIGURATION,
]


def state(spec: Spec) -> str:
    return spec.model_dump_json()


@settings(max_examples=300)
@given(
    history=st.lists(
        st.tuples(st.sampled_from(REPEATING), st.integers(64, 140_000)), min_size=1, max_size=60
    ),
    quiet=st.sets(st.integers(0, 60)),
    steps=st.integers(1, 8),
    length=st.sampled_from(["auto", 131072, 16384]),
)
def test_any_history_ends_within_the_limits_and_repeats_no_settings(
    history: list[tuple[FailureClass, int]], quiet: set[int], steps: int, length: int | str
) -> None:
    case = endpoint(
        {
            "engine": {"contextLength": length},
            "oom": {"maxSteps": steps, "maxMemory": "64Gi"},
            "pod": {"resources": {"limits": {"memory": "32Gi"}}},
        }
    )
    tried: list[str] = []
    for number, (kind, fits) in enumerate(history):
        before = len(case.oom.steps) if case.oom else 0
        case.fail(kind, fits=fits)
        if number in quiet:
            case.look(quiet=True, ready=True)
        assert case.oom is not None
        after = len(case.oom.steps)
        assert after <= min(steps, before + 1), "more than one step at a time"
        if after > before:
            assert state(case.running) not in tried, "settings were tried twice"
            tried.append(state(case.running))
        within_limits(case.running, case.resource.spec)
        assert sum(one.count for one in case.oom.totals) == sum(
            one in MEMORY_FAILURES for one, _ in history[: number + 1]
        )


def within_limits(now: Spec, original: Spec) -> None:
    oom, engine = original.oom, now.engine
    if engine.context_length != original.engine.context_length:
        assert isinstance(engine.context_length, int)
        assert engine.context_length >= oom.min_context_length
    share = engine.gpu_memory_utilization
    assert oom.min_gpu_memory_utilization <= share <= oom.max_gpu_memory_utilization
    assert engine.max_sequences is None or engine.max_sequences >= oom.min_sequences
    assert engine.max_batched_tokens >= oom.min_batched_tokens
    assert now.images.per_prompt >= oom.min_images_per_prompt
    assert quantity_bytes(now.shared_memory) <= quantity_bytes(oom.max_shared_memory)
    assert quantity_bytes(now.pod.resources.limits["memory"]) <= quantity_bytes("64Gi")


@given(
    share=st.floats(0.7, 0.99),
    tokens=st.integers(1, 8192),
    context=st.integers(1, 131_072),
    sequences=st.integers(1, 1024),
)
def test_an_endpoint_that_has_a_way_out_finds_it_or_gives_up(
    share: float, tokens: int, context: int, sequences: int
) -> None:
    """A machine whose failures follow from the settings, two kinds of them at once."""

    def world(spec: Spec) -> FailureClass | None:
        engine = spec.engine
        if engine.context_length != "auto" and engine.context_length > context:
            return F.KV_CACHE_TOO_SMALL
        if engine.gpu_memory_utilization > share:
            return F.CUDA_OOM_WARMUP
        if engine.max_batched_tokens > tokens:
            return F.CUDA_OOM_RUNTIME
        return F.CUDA_OOM_WARMUP if (engine.max_sequences or 256) > sequences else None

    case = endpoint(LONG, {"oom": {"maxSteps": 16}})
    # A cause that may go away is retried endlessly, by design: the history is cut here.
    if case.play(lambda spec: world(spec) if len(case.settings) < 40 else None):
        assert case.oom is None or case.oom.active is None
