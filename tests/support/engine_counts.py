"""What the gate inside the real vLLM has to count: what the client saw."""

from collections import Counter
from pathlib import Path

from engine_requests import (
    CALL,
    CHAT,
    COMPLETIONS,
    ENDLESS_CALL,
    LEFT,
    LOOP,
    TOOLS,
    Answer,
    ask,
    exposition,
)
from gate_counts import counts_in, gate_counts
from prometheus_server import Prometheus, Target
from server_runner import RunningServer


def the_counts_are_the_clients(server: RunningServer, folder: Path) -> None:
    """Send requests of many kinds; a Prometheus then has the counts that the client made."""
    before = gate_counts(exposition(server))
    expected: Counter[str] = Counter()

    def generations(answer: Answer, *reasons: str) -> None:
        for reason in reasons or answer.finishes:
            expected[f"generations_total{{finish_reason={reason}}}"] += 1

    def looped(tokens: int, action: str = "observed") -> None:
        expected[f"generation_loops_total{{action={action},kind=exact}}"] += 1
        expected["generation_loop_tokens_total"] += tokens

    def called(outcome: str, request: str, stream: bool) -> None:
        streamed = str(stream).lower()
        expected[f"tool_calls_total{{outcome={outcome},stream={streamed}}}"] += 1
        expected[f"tool_requests_total{{outcome={request}}}"] += 1

    for stream in (False, True):
        for path in (CHAT, COMPLETIONS):
            generations(ask(server, path, stream=stream))
            generations(ask(server, path, stream=stream, max_tokens=400, **LOOP))
            looped(399)
        two = ask(server, stream=stream, n=2, temperature=1)
        assert len(two.finishes) == 2
        generations(two)

        good = ask(server, stream=stream, max_tokens=60, **CALL)
        assert good.finishes == ["tool_calls"]
        generations(good)
        # vLLM strips the white space that random weights put behind a name, but not in a stream.
        stray = good.tool_name != "get_weather"
        assert stray is False or stream
        outcome, of_request = ("unknown_tool",) * 2 if stray else ("ok", "valid")
        called(outcome, of_request, stream)

        cut = ask(server, stream=stream, **ENDLESS_CALL)
        assert cut.finishes == ["length"]
        generations(cut)
        called("truncated", "invalid_args", stream)

        silent = ask(server, stream=stream, max_tokens=300, **LOOP, **TOOLS)
        generations(silent)
        looped(299)
        expected["tool_requests_total{outcome=no_call}"] += 1

        stopped = ask(server, stream=stream, max_tokens=1900, loops="stop", **LOOP)
        assert stopped.finishes == ["length"]
        generations(stopped, "repetition")
        looped(511, "stopped")

    # Half a minute of work: a busy machine sends nothing for seconds, and then everything
    # meanwhile in one event. The client leaves with the event that opens the last choice, and each
    # generation has to be counted once.
    stream_ = server.stream(1900, n=LEFT, **LOOP | {"temperature": 1})
    for _ in range(LEFT):
        assert b'"role":"assistant"' in next(stream_)
    stream_.close()  # type: ignore[attr-defined]
    expected["generations_total{finish_reason=abort}"] += LEFT
    assert ask(server, temperature=-1).status == 400

    rules = folder / "no-rules.yaml"
    rules.write_text("groups: []")
    target = Target(lambda: exposition(server).encode(), labels={})
    aborts = "generations_total{finish_reason=abort}"
    # Two API processes add their metrics up in more than a second on a busy machine.
    with Prometheus(folder, {"vllm": target}, rules, scrape_seconds=5) as prometheus:
        prometheus.until(lambda: counts_in(prometheus)[aborts] > before[aborts], seconds=60)
        got = counts_in(prometheus)
    got.subtract(before)
    got = +got
    # How many tokens reached a client that left is for the network to know.
    assert got.pop("generation_loop_tokens_total") >= expected.pop("generation_loop_tokens_total")
    assert 0 <= got.pop("generations_unchecked_total", 0) <= LEFT
    aborted = "generation_loops_total{action=observed,kind=exact}"
    assert 0 <= got.pop(aborted) - expected.pop(aborted) <= LEFT
    # A server without CPU time notices a disconnect late; some generations have then finished.
    lengths = "generations_total{finish_reason=length}"
    ended = got[lengths] - expected[lengths]
    assert 0 <= ended < LEFT
    assert got == expected + Counter({lengths: ended}) - Counter({aborts: ended})
