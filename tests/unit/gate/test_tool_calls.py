"""Every answer of the corpus gets the outcomes that a person gave it."""

import gc
import time
from collections import Counter

import pytest

from gate_engine import Counted, FakeEngine, ask, gate
from mistral_server.gate.schemas import SCHEMA_LIMIT_BYTES, UnusableSchema, schema_errors
from mistral_server.gate.tool_calls import ToolCallOutcome
from tool_call_corpus import UNUSABLE, Entry, corpus, doubling
from tool_call_wire import choices_of, chunks_of, request_of

CORPUS = corpus()


def test_the_corpus_is_large_and_has_every_outcome_both_ways() -> None:
    assert len(CORPUS) >= 200
    for stream in (False, True):
        seen = {outcome for one in CORPUS if one.stream is stream for _, outcome in one.outcomes}
        assert seen == set(ToolCallOutcome)


@pytest.mark.parametrize(
    "entry",
    CORPUS,
    ids=lambda entry: f"{'stream' if entry.stream else 'whole'}: {entry.title!r:.60}",
)
@pytest.mark.usefixtures("configure")
async def test_an_answer_gets_its_outcomes(entry: Entry) -> None:
    engine = FakeEngine(choices_of(entry), chunks_of(entry) if entry.stream else None)
    with Counted() as counted:
        got = await ask(gate(engine), request_of(entry))

    assert got.complete
    expected = Counter(outcome for _, outcome in entry.outcomes)
    stream = "true" if entry.stream else "false"
    moved = {name: by for name, by in counted.moved().items() if name.startswith("tool_")}
    assert moved == {
        f"tool_requests_total{{outcome={entry.request_outcome}}}": 1,
        **{
            f"tool_calls_total{{outcome={outcome},stream={stream}}}": count
            for outcome, count in expected.items()
        },
    }


@pytest.mark.usefixtures("configure")
async def test_nothing_is_kept_of_requests_that_are_over() -> None:
    async def request_all() -> None:
        for entry in CORPUS:
            engine = FakeEngine(choices_of(entry), chunks_of(entry) if entry.stream else None)
            await ask(gate(engine), request_of(entry))

    await request_all()
    before = _alive()
    await request_all()

    assert _alive() == before


def _alive() -> Counter[type]:
    """Count the gate's own objects."""
    gc.collect()
    classes = (type(one) for one in gc.get_objects())
    return Counter(one for one in classes if str(one.__module__).startswith("mistral_server."))


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_hostile_schema_costs_little_time(name: str) -> None:
    import msgspec

    schema = msgspec.json.encode(UNUSABLE[name])
    started = time.process_time()
    with pytest.raises(UnusableSchema):
        schema_errors(schema, {"x": "a" * 60})

    # Of CPU: the worst takes half a second on a busy machine, and without a limit ten and more.
    assert time.process_time() - started < 3


def test_references_are_followed_as_long_as_they_end() -> None:
    import msgspec

    for depth, usable in ((3, True), (10, True), (16, False)):
        schema = msgspec.json.encode(doubling(depth))
        if usable:
            assert schema_errors(schema, {}) == []
        else:
            with pytest.raises(UnusableSchema, match="take too long"):
                schema_errors(schema, {})


def test_a_schema_may_be_so_deep() -> None:
    def nested(depth: int) -> bytes:
        return b'{"allOf":[' * depth + b"{}" + b"]}" * depth

    assert schema_errors(nested(100), {}) == []
    with pytest.raises(UnusableSchema):
        schema_errors(nested(5000), {})


def test_a_schema_may_be_so_large() -> None:
    fits = b'{"description":"' + b"x" * (SCHEMA_LIMIT_BYTES - 18) + b'"}'

    assert schema_errors(fits, {}) == []
    with pytest.raises(UnusableSchema, match="65537 bytes"):
        schema_errors(fits[:-2] + b'x"}', {})
