"""What the supervisor reads: the engine's log and the engine's metrics."""

import itertools

import pytest

from mistral_server.contract import Stage
from mistral_server.engine.vllm_metrics import EngineMetrics, parse
from mistral_server.engine_log.first_error import RECENT_SECONDS, Evidence
from mistral_server.engine_log.output import LineSplitter
from mistral_server.engine_log.stages import Stages
from mistral_server.supervisor.hang_detector import HangDetector


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_the_bytes_arrive(size: int) -> None:
    data = b"one\r\ntwo\n\nthree\rfour\xff\nfive"
    splitter = LineSplitter()
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    lines = list(itertools.chain.from_iterable(splitter.feed(piece) for piece in pieces))

    assert lines + list(splitter.flush()) == ["one", "two", "three", "four\ufffd", "five"]


def test_a_long_line_is_cut_and_costs_no_memory() -> None:
    splitter = LineSplitter(limit=10)
    lines = [*splitter.feed(b"x" * 1_000_000), *splitter.feed(b"y" * 1_000_000 + b"\nshort\n")]

    assert lines == ["x" * 10, "short"]


LOADING, PROFILING, WARMING_UP = Stage.LOADING, Stage.PROFILING, Stage.WARMING_UP


@pytest.mark.parametrize(
    ("log", "stages"),
    [
        pytest.param(
            """
(EngineCore pid=6982) INFO 11-24 12:47:57 [model_runner.py:284] Loading model from scratch...
(EngineCore pid=6982) INFO 11-24 12:47:58 [model_runner.py:305] Model loading took 44.76 GiB and 1 s
(EngineCore pid=6982) INFO 11-24 12:48:00 [kv_cache_utils.py:2177] GPU KV cache size: 57,344 tokens
""",
            [LOADING, PROFILING, WARMING_UP],
            id="GPU, random weights",
        ),
        pytest.param(
            """
(EngineCore pid=1935) INFO 12-01 09:50:13 [model_runner.py:392] Loading model from scratch...
(EngineCore pid=1935) INFO 12-01 09:50:14 [base_loader.py:82] Initializing model took 0.7 seconds
(EngineCore pid=1935) INFO 12-01 09:50:45 [default_loader.py:501] Loading weights took 30.9 seconds
(EngineCore pid=1935) INFO 12-01 09:50:47 [model_runner.py:424] Model loading took 44.76 GiB memory
(EngineCore pid=1935) INFO 12-01 09:50:53 [kv_cache_utils.py:2327] GPU KV cache size: 513,856 tokens
""",
            [LOADING, LOADING, PROFILING, PROFILING, WARMING_UP],
            id="GPU, weights of a file",
        ),
        pytest.param(
            """
(Worker_TP1 pid=30182) INFO 11-24 13:51:02 [cpu_model_runner.py:68] Starting to load model /tiny...
(Worker_TP0 pid=30181) INFO 11-24 13:51:02 [base_loader.py:82] Initializing model took 0.2 seconds
(Worker_TP0 pid=30181) INFO 11-24 13:51:02 [default_loader.py:501] Loading weights took 0.2 seconds
(EngineCore pid=30143) INFO 11-24 13:51:03 [kv_cache_utils.py:2327] CPU KV cache size: 131,072 ...
""",
            [LOADING, LOADING, PROFILING, WARMING_UP],
            id="CPU",
        ),
    ],
)
def test_stages_follow_the_log(log: str, stages: list[Stage]) -> None:
    followed = Stages()
    seen = []
    for line in log.strip().splitlines():
        followed.read(line)
        seen.append(followed.current)

    assert seen == stages


def test_a_stage_is_timed_and_never_left_backwards() -> None:
    clock = Clock()
    stages = Stages(clock)
    clock.now += 5
    stages.enter(Stage.LOADING)
    clock.now += 7
    stages.enter(Stage.WARMING_UP)
    stages.enter(Stage.PROFILING)
    clock.now += 1

    assert stages.current is Stage.WARMING_UP
    assert stages.seconds() == 1
    assert stages.durations() == {Stage.STARTING: 5, Stage.LOADING: 7}


ULIMIT = (
    "(APIServer pid=1) WARNING 11-24 12:47:34 [system_utils.py:299] Found ulimit of 20000 and "
    "failed ... like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n"
)
INIT = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above."
OOM = "(EngineCore pid=2) ERROR 11-24 12:00:00 [core.py:5] torch.OutOfMemoryError: CUDA out of m"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ([ULIMIT, INIT], ""),
        ([ULIMIT, OOM, "(EngineCore pid=2) ValueError: later", INIT], OOM.split("] ", 1)[1]),
        ([INIT, OOM], OOM.split("] ", 1)[1]),
        (["(APIServer pid=1) ValueError: bad flag", OOM], OOM.split("] ", 1)[1]),
        (
            ["(APIServer pid=1) pydantic_core.ValidationError: x"],
            "pydantic_core.ValidationError: x",
        ),
        (["(ApiServer_0 pid=1) KeyError: 'x'"], "KeyError: 'x'"),
        (
            [
                "(EngineCore pid=2) Worker proc VllmWorker-0 died unexpectedly",
                "(EngineCore pid=2) ERROR 11-24 14:13:49 [c.py:5] RuntimeError: Executor failed.",
            ],
            "Worker proc VllmWorker-0 died unexpectedly",
        ),
        (["(VllmWorker-1 pid=3) OSError: [Errno 28] No space left on device"],) * 2,
        (["vllm serve: error: unrecognized arguments: --x"],) * 2,
        (
            [
                '(EngineCore pid=2)   File "x.py", line 5, in load',
                "(EngineCore pid=2) FutureWarning: x",
            ],
            "",
        ),
    ],
)
def test_the_first_cause_is_kept(log: list[str], line: str | list[str]) -> None:
    evidence = Evidence()
    for entry in log:
        evidence.read(entry)
    expected = line if isinstance(line, str) else line[0].split(") ", 1)[-1]

    assert evidence.line == expected


def test_while_serving_only_the_engine_counts_and_old_exceptions_are_forgotten() -> None:
    clock = Clock()
    evidence = Evidence(clock)
    evidence.read("(APIServer pid=1) ValueError: survived")
    evidence.mark_serving()
    evidence.read("(APIServer pid=1) ValueError: a bad request")
    assert evidence.line == ""

    evidence.read("(EngineCore pid=2) ValueError: a bad grammar")
    assert evidence.line == "ValueError: a bad grammar"

    clock.now += RECENT_SECONDS + 1
    assert evidence.line == ""

    evidence.read("(EngineCore pid=2) RuntimeError: the real one")
    evidence.read("(EngineCore pid=2) ValueError: its consequence")
    assert evidence.line == "RuntimeError: the real one"


REAL_METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a \\"b\\" }"} 5.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="deferred"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.75
vllm:cache_config_info{block_size="128",kv_cache_size_tokens="131072",x="None"} 1.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 1e+06
vllm:generation_tokens_created{engine="0",model_name="tiny"} 1.7955282652086282e+09
vllm:iteration_tokens_total_count{engine="0",model_name="tiny"} 7.0
"""


def test_tokens_are_those_of_prompts_and_answers() -> None:
    text = "vllm:iteration_tokens_total_count 7\nvllm:generation_tokens_total 5\n"

    assert parse(text + "vllm:prompt_tokens_total 20\n").tokens == 25


def test_the_engines_numbers_are_read() -> None:
    assert parse(REAL_METRICS) == EngineMetrics(
        running=3,
        waiting=5,
        starved=4,
        kv_cache_usage=0.75,
        progress=(7.0, 1e6, 0.0),
        kv_cache_tokens=131072,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>502</html>",
        "vllm:num_requests_running NaN\nvllm:num_requests_running -1\n",
        'vllm:num_requests_running{engine="0"\nvllm:num_requests_waiting x\n',
        "vllm:kv_cache_usage_perc +Inf",
        'vllm:cache_config_info{kv_cache_size_tokens="None"} 1.0',
        "\x00\ufffd" * 1000,
    ],
)
def test_garbage_reads_as_nothing(text: str) -> None:
    assert parse(text) == EngineMetrics(progress=(0, 0, 0))


BUSY = EngineMetrics(running=1, progress=(5.0,))
STARVED = EngineMetrics(waiting=1, starved=1, progress=(5.0,))
DEFERRED = EngineMetrics(waiting=1, progress=(5.0,))


@pytest.mark.parametrize(
    ("looks", "stalled"),
    [
        ([BUSY, BUSY, BUSY], True),
        ([STARVED, STARVED, STARVED], True),
        ([None, None, None], True),
        ([BUSY, None, None], True),
        ([EngineMetrics()] * 3, False),
        ([DEFERRED] * 3, False),
        ([BUSY, BUSY, EngineMetrics(running=1, progress=(6.0,))], False),
        ([BUSY, BUSY, EngineMetrics(running=1, progress=(0.0,))], False),
        ([BUSY, BUSY, EngineMetrics()], False),
        ([BUSY, None, EngineMetrics()], False),
    ],
)
def test_a_stall_is_work_without_progress(looks: list[EngineMetrics | None], stalled: bool) -> None:
    clock = Clock()
    detector = HangDetector(100, clock)
    for observation in looks:
        detector.on_unreachable() if observation is None else detector.observe(observation)
        clock.now += 51

    assert (detector.stall_reason() is not None) == stalled


def test_a_stall_takes_its_time() -> None:
    clock = Clock()
    detector = HangDetector(100, clock)
    detector.observe(BUSY)
    clock.now += 99
    detector.observe(BUSY)
    assert detector.stall_reason() is None

    clock.now += 1
    assert detector.stall_reason() == "For 100 s no token was computed (running requests: 1)."
