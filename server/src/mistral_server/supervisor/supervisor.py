"""Start the engine, own the pod's health, and report failures: ``mistral-server run``.

A run is a sequence: check, start, wait for the first chat, poll, drain. On every exit all processes
of the engine are killed; otherwise the next engine finds the GPU's memory in use. vLLM exits 0 when
its engine dies. This process exits 0 only after a requested stop and a successful drain.
"""

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mistral_server.contract import (
    DRAINING_ENV,
    EffectiveConfiguration,
    FailureClass,
    ServerSettings,
    Stage,
)
from mistral_server.engine import model_registry
from mistral_server.engine.argv import engine_arguments, engine_environment
from mistral_server.engine.client import EngineClient, EngineUnreachableError
from mistral_server.engine.compatibility import (
    check_speculation,
    check_versions,
    installed_versions,
)
from mistral_server.engine_log.classify import ADVICE, UNEXPLAINED, Classifier
from mistral_server.engine_log.first_error import Evidence
from mistral_server.engine_log.line_format import LineFormat
from mistral_server.engine_log.output import Output
from mistral_server.errors import (
    EngineDiedError,
    EngineFailedError,
    InvalidConfigurationError,
    ServerError,
    StalledError,
    StartFailedError,
    StartTimeoutError,
)
from mistral_server.gate.api_keys import check_api_keys
from mistral_server.gate.system_prompt import check_system_prompt
from mistral_server.model.files import check_model
from mistral_server.supervisor import canary, cgroup, claim_calls, drain, termination
from mistral_server.supervisor.compile_cache import CompileCache
from mistral_server.supervisor.engine_process import EngineProcess, Reaper
from mistral_server.supervisor.engine_watch import poll_engine
from mistral_server.supervisor.hang_detector import HangDetector
from mistral_server.supervisor.health import serve_health
from mistral_server.supervisor.key_publisher import published_keys
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState

DRAIN_MARGIN_SECONDS = 20
"""Time for an engine without requests to exit, in seconds; two API processes took nine."""

UNREADY_SECONDS = 3
"""Time for an engine that was never ready to exit, in seconds; it has no requests to finish."""

_OUTPUT_SECONDS = 5.0
_USAGE_EXIT = 2  # argparse

_log = logging.getLogger(__name__)


def run_server(settings: ServerSettings) -> int:
    """Run a server until it exits or receives SIGTERM; return the exit code."""
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """One run of one server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._started_at = time.monotonic()
        self._state = ServerState(settings)
        self._metrics = ServerMetrics(self._state)
        self._evidence = Evidence()
        self._classifier = Classifier()
        self._compile_cache = CompileCache(settings)
        self._oom_kills = cgroup.oom_kills()
        self._token = secrets.token_hex(16)
        self._stop = asyncio.Event()
        self._draining_file: Path
        self._exit: asyncio.Task[int]

    async def run(self) -> int:
        """Run, report a failure, and return the exit code."""
        try:
            await self._run()
        except ServerError as error:
            self._metrics.count_exit(error.failure)
            uptime = time.monotonic() - self._started_at
            stage, hidden = self._state.stages.current, [self._token]
            report = termination.make_report(error, stage, uptime, hidden)
            termination.write_report(report, self._settings.termination_log)
            # On the claim, which may be slow: the kubelet may kill this process meanwhile.
            if stage is not Stage.DRAINING:
                await claim_calls.mark_failed(self._compile_cache, error.failure)
            return error.exit_code
        finally:
            await claim_calls.close(self._compile_cache)
        return 0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._check()
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="mistral-server-"))
            self._draining_file = Path(folder, "draining")
            await stack.enter_async_context(self._health_port())
            await stack.enter_async_context(
                published_keys(self._settings.gate.api_keys, self._state.publish_keys)
            )
            client = await stack.enter_async_context(EngineClient(self._settings, self._token))
            engine = await stack.enter_async_context(self._engine())
            await self._start(client)
            if not self._stop.is_set():
                await self._serve(client)
            await self._drain(engine, client)

    def _check(self) -> None:
        vllm, mistral_common = installed_versions()
        check_versions(vllm, mistral_common)
        check_speculation(speculates=self._settings.engine.speculation is not None)
        check_model(self._settings.model)
        check_api_keys(self._settings.gate.api_keys)
        check_system_prompt(self._settings.system_prompt)
        self._state.effective = EffectiveConfiguration(
            vllm_version=vllm, mistral_common_version=mistral_common
        )

    @asynccontextmanager
    async def _health_port(self) -> AsyncIterator[None]:
        try:
            async with serve_health(self._state, self._metrics):
                yield
        except OSError as error:
            port = self._settings.health_port
            raise InvalidConfigurationError(
                f"Cannot listen on the health port {port}: {error}"
            ) from error

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[EngineProcess]:
        """Start the engine, and kill all its processes at the end of the block."""
        arguments = engine_arguments(self._settings)
        _log.info("Starting vllm serve %s", " ".join(arguments))
        environment = engine_environment(self._settings, os.environ, self._token)
        environment = await claim_calls.open_cache(self._compile_cache, environment, self._stop)
        self._state.compile_cache = self._compile_cache.report
        environment[DRAINING_ENV] = str(self._draining_file)
        model_registry.copy_to_cache(environment)
        reaper = Reaper()
        engine = EngineProcess(reaper, arguments, environment)
        chosen = self._settings.logs.format
        line_format = LineFormat(chosen) if chosen is not None else None
        output = Output(engine.output, sys.stdout.fileno(), self._on_line, line_format)
        self._exit = asyncio.create_task(self._engine_exit(engine, output))
        try:
            yield engine
        finally:
            await engine.kill()
            await self._exit
            reaper.close()

    async def _engine_exit(self, engine: EngineProcess, output: Output) -> int:
        """Return the engine's exit code once it has exited and its last line was read."""
        code = await engine.exited()
        await asyncio.to_thread(output.wait, _OUTPUT_SECONDS)
        return code

    def _on_line(self, line: str) -> None:
        self._state.stages.read(line)
        self._evidence.read(line)
        self._classifier.read(line)
        self._compile_cache.read(line)

    async def _start(self, client: EngineClient) -> None:
        """Return once a chat was answered or a stop was requested.

        Raises:
            ServerError: the engine exited, rejected the chat, or took too long.
        """
        budget = self._settings.lifecycle.startup_seconds
        if await self._until_stopped(self._become_ready(client), seconds=budget):
            return
        if self._exit.done():
            raise self._start_failure(self._exit.result())
        if not self._stop.is_set():
            stage = self._state.stages.current.value
            raise StartTimeoutError(
                f"No chat was answered within {budget} s; the engine was still {stage}. Raise"
                " lifecycle.startup_seconds if the model needs more time.",
                evidence=self._evidence.line,
            )

    async def _become_ready(self, client: EngineClient) -> None:
        stages = self._state.stages
        await canary.wait_until_healthy(client)
        stages.enter(Stage.CANARY)
        ranks = await canary.wait_for_first_chat(client)
        update: dict[str, Any] = {"tensor_parallel_size": ranks}
        try:
            update["vllm_version"] = await client.version()
            update["context_length"] = await client.context_length()
        except EngineUnreachableError as error:
            _log.warning("Cannot read the engine's configuration: %s", error)
        self._state.effective = self._state.effective.model_copy(update=update)
        await claim_calls.mark_ready(self._compile_cache)
        self._state.compile_cache = self._compile_cache.report
        self._evidence.mark_serving()
        self._state.started = True
        stages.enter(Stage.SERVING)
        _log.info("Ready after %.1f s", time.monotonic() - self._started_at)

    async def _serve(self, client: EngineClient) -> None:
        """Return once a stop was requested.

        Raises:
            EngineDiedError: the engine exited by itself.
        """
        hang_detector = HangDetector(self._settings.lifecycle.stall_seconds)
        self._state.hang_detector = hang_detector
        await self._until_stopped(poll_engine(client, self._state, hang_detector))
        if not self._stop.is_set():
            raise self._exit_error(self._exit.result())

    async def _drain(self, engine: EngineProcess, client: EngineClient) -> None:
        """Let running requests finish, then terminate the engine.

        Raises:
            StalledError: the engine is hung.
            EngineDiedError: the engine exited in another way than by draining.
        """
        if reason := self._state.stall_reason():
            raise StalledError(reason, evidence=self._evidence.line)
        was_ready = self._state.ready
        self._state.stages.enter(Stage.DRAINING)
        drain.announce(self._draining_file)
        _log.info("Draining")
        if was_ready:
            await self._finish_requests(client)
        limit = DRAIN_MARGIN_SECONDS if was_ready else UNREADY_SECONDS
        engine.terminate()
        await asyncio.wait([self._exit], timeout=limit)
        if not was_ready:
            return
        if not self._exit.done():
            raise EngineDiedError(
                f"The engine did not exit within {limit} s of SIGTERM and was killed.",
                evidence=self._evidence.line,
            )
        if self._exit.result() != 0:
            raise self._exit_error(self._exit.result())

    async def _finish_requests(self, client: EngineClient) -> None:
        """Wait until no requests arrive and none is running, up to the drain timeout."""
        lifecycle = self._settings.lifecycle
        # Requests still arrive until every load balancer has seen the unready pod.
        arriving = lifecycle.endpoint_removal_seconds
        idle = asyncio.ensure_future(drain.wait_until_idle(client, arriving))
        await asyncio.wait(
            [idle, self._exit],
            timeout=arriving + lifecycle.drain_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not idle.done():
            _log.warning(
                "Requests are still running after %d s and may be cut off", lifecycle.drain_seconds
            )
        idle.cancel()
        await asyncio.gather(idle, return_exceptions=True)

    async def _until_stopped(
        self, work: Coroutine[Any, Any, None], seconds: float | None = None
    ) -> bool:
        """Run `work` until the engine exits, a stop is requested or the timeout expires.

        Returns whether `work` finished, and raises what it raises.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(
                [task, stop, self._exit], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                task.result()
            return task.done()
        finally:
            task.cancel()
            stop.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _start_failure(self, code: int) -> ServerError:
        if code == _USAGE_EXIT:
            return InvalidConfigurationError(
                "vLLM rejected its arguments: correct engine.extra_args.",
                evidence=self._evidence.line,
                engine_exit=code,
            )
        if error := self._logged_cause(code):
            return error
        return StartFailedError(
            self._exit_message(code), evidence=self._evidence.line, engine_exit=code
        )

    def _exit_error(self, code: int) -> ServerError:
        if error := self._logged_cause(code):
            return error
        return EngineDiedError(
            self._exit_message(code), evidence=self._evidence.line, engine_exit=code
        )

    def _logged_cause(self, code: int) -> EngineFailedError | None:
        """Return the cause of the exit as the engine's log or the kernel shows it."""
        classification = self._classifier.classification()
        if classification is not None and classification.failure not in UNEXPLAINED:
            stage = self._state.stages.current.value
            message = f"The engine failed while {stage}: {classification.evidence}"
            return EngineFailedError(
                classification.failure,
                f"{message.rstrip('.')}. {classification.advice}".strip(),
                evidence=classification.evidence,
                engine_exit=code,
                phase=classification.phase,
                suggest=classification.suggestions,
            )
        if cgroup.oom_kills() > self._oom_kills:
            return EngineFailedError(
                FailureClass.HOST_OOM,
                "The kernel killed a process of the engine: the pod reached its memory limit."
                f" {ADVICE[FailureClass.HOST_OOM]}",
                evidence=self._evidence.line,
                engine_exit=code,
            )
        return None

    def _exit_message(self, code: int) -> str:
        how = f"was terminated by signal {-code}" if code < 0 else f"exited with code {code}"
        # The log of an engine that is killed from outside simply stops.
        why = self._evidence.line.rstrip(".") or "its log gives no cause, as when it is killed"
        return f"The engine {how} while {self._state.stages.current.value}: {why}."
