"""Start the engine, own the pod's health, and end with the truth: ``mistral-server run``.

A run is a paragraph: check, start, wait for the first chat, watch, drain. Whatever ends it, no
process of the engine is left, since the next one would find the GPU's memory taken. vLLM exits 0
when its engine dies; this process exits 0 only when it was asked to stop and the drain worked.
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
from typing import Any

from mistral_server.contract import (
    EffectiveConfiguration,
    FailureClass,
    ServerSettings,
    Stage,
)
from mistral_server.engine import model_registry
from mistral_server.engine.argv import engine_arguments, engine_environment
from mistral_server.engine.client import EngineClient, EngineUnreachableError
from mistral_server.engine.compatibility import check_versions, installed_versions
from mistral_server.engine_log.classify import ADVICE, UNEXPLAINED, Classifier
from mistral_server.engine_log.first_error import Evidence
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
from mistral_server.model.files import check_model
from mistral_server.supervisor import canary, cgroup, drain, termination
from mistral_server.supervisor.engine_process import Engine, Reaper
from mistral_server.supervisor.engine_watch import watch
from mistral_server.supervisor.hang_detector import Progress
from mistral_server.supervisor.health import served
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState

DRAIN_MARGIN_SECONDS = 20
"""Time that an engine without requests gets to end its processes; two API processes took nine."""

UNREADY_SECONDS = 3
"""Time that an engine gets to end which never answered anybody, and has nothing to lose."""

_OUTPUT_SECONDS = 5.0
_USAGE_EXIT = 2  # argparse

_log = logging.getLogger(__name__)


def run(settings: ServerSettings) -> int:
    """Run a server until it ends or is told to; return the exit code."""
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """One run of one server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._state = ServerState(settings)
        self._metrics = ServerMetrics(self._state)
        self._evidence = Evidence()
        self._classifier = Classifier()
        self._oom_kills = cgroup.oom_kills()
        self._token = secrets.token_hex(16)
        self._stop = asyncio.Event()
        self._exit: asyncio.Task[int]

    async def run(self) -> int:
        """Run until the end, report it if it is a failure, and return the exit code."""
        try:
            await self._run()
        except ServerError as error:
            self._metrics.count_exit(error.failure)
            uptime = time.monotonic() - self._began
            words = termination.report(error, self._state.stages.current, uptime)
            termination.write(words, self._settings.termination_log)
            return error.exit_code
        return 0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._check()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._health_port())
            client = await stack.enter_async_context(EngineClient(self._settings, self._token))
            engine = await stack.enter_async_context(self._engine())
            await self._start(client)
            if not self._stop.is_set():
                await self._serve(client)
            await self._drain(engine, client)

    def _check(self) -> None:
        vllm, mistral_common = installed_versions()
        check_versions(vllm, mistral_common)
        check_model(self._settings.model)
        check_api_keys(self._settings.gate.api_keys)
        self._state.effective = EffectiveConfiguration(
            vllm_version=vllm, mistral_common_version=mistral_common
        )

    @asynccontextmanager
    async def _health_port(self) -> AsyncIterator[None]:
        try:
            async with served(self._state, self._metrics):
                yield
        except OSError as error:
            port = self._settings.health_port
            raise InvalidConfigurationError(
                f"Cannot listen on the health port {port}: {error}"
            ) from error

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Engine]:
        """Start the engine; at the end of the block none of its processes is left."""
        arguments = engine_arguments(self._settings)
        _log.info("Starting vllm serve %s", " ".join(arguments))
        environment = engine_environment(self._settings, os.environ, self._token)
        model_registry.recall(environment)
        reaper = Reaper()
        engine = Engine(reaper, arguments, environment)
        output = Output(engine.output, sys.stdout.fileno(), self._read)
        self._exit = asyncio.create_task(self._engine_exit(engine, output))
        try:
            yield engine
        finally:
            await engine.kill()
            await self._exit
            reaper.close()

    async def _engine_exit(self, engine: Engine, output: Output) -> int:
        """Return the engine's exit code once it is gone and its last line was read."""
        code = await engine.exited()
        await asyncio.to_thread(output.wait, _OUTPUT_SECONDS)
        return code

    def _read(self, line: str) -> None:
        self._state.stages.read(line)
        self._evidence.read(line)
        self._classifier.read(line)

    async def _start(self, client: EngineClient) -> None:
        """Return once a chat was answered, or a stop was asked for.

        Raises:
            ServerError: the engine ended, refused or took too long.
        """
        budget = self._settings.lifecycle.startup_seconds
        if await self._first(self._become_ready(client), seconds=budget):
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
        await canary.until_healthy(client)
        stages.enter(Stage.CANARY)
        ranks = await canary.first_chat(client)
        update: dict[str, Any] = {"tensor_parallel_size": ranks}
        try:
            update["vllm_version"] = await client.version()
            update["context_length"] = await client.context_length()
        except EngineUnreachableError as error:
            _log.warning("Cannot read the engine's configuration: %s", error)
        self._state.effective = self._state.effective.model_copy(update=update)
        self._evidence.serving()
        self._state.started = True
        stages.enter(Stage.SERVING)
        _log.info("Ready after %.1f s", time.monotonic() - self._began)

    async def _serve(self, client: EngineClient) -> None:
        """Return once a stop was asked for.

        Raises:
            EngineDiedError: the engine ended by itself.
        """
        progress = Progress(self._settings.lifecycle.stall_seconds)
        self._state.progress = progress
        await self._first(watch(client, self._state, progress))
        if not self._stop.is_set():
            raise self._death(self._exit.result())

    async def _drain(self, engine: Engine, client: EngineClient) -> None:
        """Let running requests end, then the engine.

        Raises:
            StalledError: there is nothing to wait for.
            EngineDiedError: the engine ended otherwise than by draining.
        """
        if stalled := self._state.stalled():
            raise StalledError(stalled, evidence=self._evidence.line)
        was_ready = self._state.ready
        self._state.stages.enter(Stage.DRAINING)
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
            raise self._death(self._exit.result())

    async def _finish_requests(self, client: EngineClient) -> None:
        """Wait until nobody sends requests any more and none is left, as long as that may take."""
        lifecycle = self._settings.lifecycle
        # Requests still arrive until every load balancer has seen the unready pod.
        await asyncio.wait([self._exit], timeout=lifecycle.endpoint_removal_seconds)
        idle = asyncio.ensure_future(drain.until_idle(client))
        await asyncio.wait(
            [idle, self._exit],
            timeout=lifecycle.drain_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not idle.done():
            _log.warning(
                "Requests are still running after %d s and may be cut off", lifecycle.drain_seconds
            )
        idle.cancel()
        await asyncio.gather(idle, return_exceptions=True)

    async def _first(self, work: Coroutine[Any, Any, None], seconds: float | None = None) -> bool:
        """Run `work` until the engine ends, a stop is asked for or the time is up.

        Returns whether `work` came to its end; raises what it raises.
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
        if known := self._known_cause(code):
            return known
        return StartFailedError(self._ending(code), evidence=self._evidence.line, engine_exit=code)

    def _death(self, code: int) -> ServerError:
        if known := self._known_cause(code):
            return known
        return EngineDiedError(self._ending(code), evidence=self._evidence.line, engine_exit=code)

    def _known_cause(self, code: int) -> EngineFailedError | None:
        """Return what the engine's log, or the kernel, says of its end."""
        verdict = self._classifier.verdict()
        if verdict is not None and verdict.failure not in UNEXPLAINED:
            said = f"The engine failed while {self._state.stages.current.value}: {verdict.evidence}"
            return EngineFailedError(
                verdict.failure,
                f"{said.rstrip('.')}. {verdict.advice}".strip(),
                evidence=verdict.evidence,
                engine_exit=code,
                phase=verdict.phase,
                suggest=verdict.values,
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

    def _ending(self, code: int) -> str:
        how = f"was terminated by signal {-code}" if code < 0 else f"exited with code {code}"
        # The log of an engine that is killed from outside just stops.
        why = self._evidence.line.rstrip(".") or "its log gives no cause, as when it is killed"
        return f"The engine {how} while {self._state.stages.current.value}: {why}."
