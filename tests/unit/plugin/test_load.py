"""What `kubectl msd top`, `logs` and `fit` print."""

import pytest

from builders import GPU, node_body, signal
from mistral_operator.api import parse_spec
from mistral_operator.plugin.load import Load, Sample, load_text
from mistral_operator.plugin.logs import merged
from mistral_operator.plugin.node_fit import fits

BUSY = signal(running=12, waiting=3, looping=1, kv_cache_usage=0.42, tokens=1000)


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        (signal(tokens=400), signal(tokens=1000), 60.0),
        (signal(tokens=1000), signal(tokens=400), None),
        (signal(), signal(tokens=400), None),
        (None, signal(tokens=400), None),
        (signal(tokens=400), None, None),
    ],
)
def test_tokens_are_counted_between_two_reports_of_one_engine(
    before: object, after: object, rate: float | None
) -> None:
    assert Sample("small-1", before, after, 10.0).tokens_per_second == rate  # type: ignore[arg-type]


def test_the_load_of_each_replica_is_a_row() -> None:
    samples = [
        Sample("small-1", signal(tokens=400), BUSY, 10.0),
        Sample("small-2", None, None, 10.0),
    ]
    text = load_text(Load(samples))

    assert [line.split() for line in text.splitlines()] == [
        ["POD", "STAGE", "RUNNING", "WAITING", "LOOPING", "TOKENS/S", "KV", "CACHE"],
        ["small-1", "serving", "12", "3", "1", "60", "42%"],
        ["small-2", "not", "known", "-", "-", "-", "-", "-"],
    ]


def test_without_a_replica_there_is_no_load() -> None:
    assert load_text(Load([])) == "no replica runs"


LOGS = {
    "small-1/server": "2026-03-01T11:00:00Z a\n2026-03-01T11:00:03Z d\x1b[31m\n  more of d\n",
    "small-2/fetch": "2026-03-01T11:00:01Z b\n2026-03-01T11:00:02Z c\n",
}


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\r"])
def test_a_line_of_a_log_cannot_forge_another(end: str) -> None:
    forged = f"2026-03-01T11:00:00Z a{end}2026-03-01T10:00:00Z CRITICAL forged"

    (line,) = merged({"small-1/server": f"{forged}\n"}, timestamps=False)

    assert line.startswith("small-1/server a")


def test_logs_are_in_the_order_of_time() -> None:
    assert merged(LOGS, timestamps=False) == [
        "small-1/server a",
        "small-2/fetch  b",
        "small-2/fetch  c",
        "small-1/server d",
        "small-1/server   more of d",
    ]


def test_logs_keep_their_timestamps_on_demand() -> None:
    assert merged(LOGS, timestamps=True)[0] == "small-1/server 2026-03-01T11:00:00Z a"


def test_a_resource_is_compared_with_each_kind_of_gpu_of_the_nodes() -> None:
    nodes = [
        node_body("a", memory_mib=143_771),
        node_body("b", memory_mib=143_771),
        node_body("c", memory_mib=16_384),
        node_body("d", 1, memory_mib=143_771),
        node_body("e"),
        node_body("f", 0),
    ]

    result = fits(parse_spec({}), nodes, None)

    assert [one.memory // 1024**2 for one in result.cases] == [143_771, 16_384]
    assert [one.fits for one in result.cases] == [True, False]
    assert result.left_out == [
        f"node d offers 1 {GPU}, and a replica needs 2",
        "node e has no usable label with the memory of a GPU",
    ]
