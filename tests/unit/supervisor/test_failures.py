"""A server that does not get ready, with a fake engine: what it reports and how it ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mistral_server.contract import (
    EXIT_CODES,
    FailureClass,
    LifecycleSettings,
    SystemPromptSettings,
)
from server_runner import RunningServer, fake_site, server_settings

Start = Callable[..., RunningServer]


def test_a_failed_start_reports_the_first_cause(start: Start) -> None:
    server = start(
        exit_code=1,
        last_words=[
            "(APIServer pid=1) WARNING 11-24 12:47:34 [u.py:2] `OSError: [Errno 24] Too many ...`.",
            "(EngineCore pid=7) ERROR 11-24 12:36:02 [core.py:1] EngineCore failed to start.\r",
            "(EngineCore pid=7) ERROR 11-24 12:36:02 [core.py:1] ValueError: a new mistake\r",
            "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause ...",
        ],
    )

    assert server.wait() == EXIT_CODES[FailureClass.START_FAILED]
    report = server.report()
    assert report.failure is FailureClass.START_FAILED
    assert report.stage == "warming-up"
    assert report.evidence == "ValueError: a new mistake"
    assert report.engine_exit == 1
    assert "Ended: {" in server.errors.read_text()


@pytest.mark.parametrize(
    ("words", "failure", "says"),
    [
        (
            (
                "ValueError: To serve at least one request with the model's max seq len (8192),"
                " (2 GiB KV cache is needed, which is larger than"
                " the available KV cache memory (1.0 GiB). Based on the available memory, the"
                " estimated maximum model length is 4096."
            ),
            FailureClass.KV_CACHE_TOO_SMALL,
            "engine.context_length",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 32.00 GiB.",
            FailureClass.CUDA_OOM_WARMUP,
            "engine.gpu_memory_utilization",
        ),
        (
            "RuntimeError: Insufficient space in /dev/shm: 240 MiB required, 64 MiB free",
            FailureClass.SHM_EXHAUSTED,
            "Raise the size of /dev/shm",
        ),
    ],
)
def test_a_cause_in_the_log_determines_class_and_advice(
    start: Start, words: str, failure: FailureClass, says: str
) -> None:
    prefix = "(EngineCore pid=7) ERROR 11-24 12:36:02 [core.py:1] "
    server = start(
        exit_code=1,
        last_words=[f"{prefix}EngineCore failed to start.\r", f"{prefix}{words}\r"],
    )

    assert server.wait() == EXIT_CODES[failure]
    report = server.report()
    assert report.failure is failure
    assert report.evidence == words
    assert says in report.message


def test_arguments_that_vllm_refuses_are_a_configuration_error(start: Start) -> None:
    words = "vllm serve: error: argument --seed: invalid int value: 'x'"
    server = start(exit_code=2, log=[], last_words=[words])

    assert server.wait() == EXIT_CODES[FailureClass.INVALID_CONFIGURATION]
    assert server.report().evidence == words


def test_a_server_whose_system_prompt_is_missing_does_not_start(
    start: Start, tmp_path: Path
) -> None:
    prompt = SystemPromptSettings(path=str(tmp_path / "SYSTEM_PROMPT.txt"))
    server = start(server_settings(tmp_path, system_prompt=prompt))

    assert server.wait() == EXIT_CODES[FailureClass.INVALID_CONFIGURATION]
    assert "system_prompt.path, SYSTEM_PROMPT.txt: No such file" in server.report().message


def test_a_start_that_takes_too_long_ends_with_its_stage(start: Start, tmp_path: Path) -> None:
    lifecycle = LifecycleSettings(startup_seconds=2)
    server = start(server_settings(tmp_path, lifecycle=lifecycle), boot_seconds=60, children=True)

    assert server.wait() == EXIT_CODES[FailureClass.START_TIMEOUT]
    assert server.report().stage == "loading"
    assert server.processes() == {}


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (
            "get_lark_from_jinja() missing 1 required positional argument: 'force_tool_names'",
            FailureClass.INCOMPATIBLE_VERSIONS,
        ),
        ("Unknown message role: user", FailureClass.START_FAILED),
    ],
)
def test_an_engine_that_refuses_every_chat_is_never_ready(
    start: Start, text: str, failure: FailureClass
) -> None:
    server = start(chat_status=400, chat_text=text)

    assert server.wait() == EXIT_CODES[failure]
    assert server.report().failure is failure
    assert server.report().evidence == text
    assert server.report().stage == "canary"


def test_the_output_passes_through_byte_for_byte(start: Start, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(
        b"a record\r\nwith breaks\r\n\r\nprogress 1\rprogress 2\r\n"
        + b"x" * 1024 * 1024
        + b"\n\xff\xfe not utf-8 \x00\n"
        + b"y" * 1024 * 1024
        + b"\nno end"
    )
    server = start(log=[], noise=str(noise), exit_code=1, last_words=[])

    assert server.wait() == EXIT_CODES[FailureClass.START_FAILED]
    assert server.output.read_bytes() == noise.read_bytes() + b"\n"


def test_an_unwritable_termination_log_changes_nothing_else(start: Start, tmp_path: Path) -> None:
    settings = server_settings(tmp_path, termination_log=str(tmp_path / "no" / "such"))
    server = start(settings, exit_code=1)

    assert server.wait() == EXIT_CODES[FailureClass.START_FAILED]
    assert "Cannot write the termination report" in server.errors.read_text()


def test_a_pair_that_does_not_fit_never_starts(start: Start, tmp_path: Path) -> None:
    fake_site(tmp_path, mistral_common="1.13.1")
    server = start()

    assert server.wait() == EXIT_CODES[FailureClass.INCOMPATIBLE_VERSIONS]
    assert '"mistral-common>=1.11.6,<1.13"' in server.report().message
    assert server.output.read_bytes() == b""


def test_a_missing_model_never_starts(start: Start, tmp_path: Path) -> None:
    settings = server_settings(tmp_path)
    Path(settings.model.path, "params.json").unlink()
    server = start(settings)

    assert server.wait() == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE]
    assert "params.json" in server.report().message


def test_a_taken_health_port_is_reported(start: Start, tmp_path: Path) -> None:
    first = start()
    first.until_ready()
    second = start(
        server_settings(
            tmp_path,
            health_port=first.settings.health_port,
            termination_log=str(tmp_path / "second"),
        )
    )

    assert second.wait() == EXIT_CODES[FailureClass.INVALID_CONFIGURATION]
    assert str(first.settings.health_port) in second.report().message
