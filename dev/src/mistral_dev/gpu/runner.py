"""Run scenarios on the GPUs of a machine, in time, and leave nothing behind.

Each GPU is a lane that takes the next scenario as soon as it is free, and has the servers of the
ones after it started and held meanwhile. Scenarios that need several GPUs, or the machine to
themselves, go before the lanes of the GPUs that they take.
"""

import contextlib
import itertools
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from mistral_dev.gpu import cards
from mistral_dev.gpu.choice import Queue
from mistral_dev.gpu.findings import Findings, Result, result
from mistral_dev.gpu.rig import Rig
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, ServerGoneError, Step

AHEAD = 3
"""Servers of a lane that import in advance: an import takes four times as long as a short test."""

NO_TIME = "no time left"

_FREE_SECONDS = 15.0
_PREPARE_SECONDS = 30.0

OnResult = Callable[[Result], None]


@dataclass
class ScenarioRun:
    """One scenario on its GPUs."""

    rig: Rig
    scenario: Scenario
    gpus: tuple[int, ...]
    deadline: float
    context: ScenarioContext = field(init=False)

    def __post_init__(self) -> None:
        """Create the context."""
        self.context = ScenarioContext(self.rig, self.gpus if self.rig.device == "cuda" else ())

    def prepare(self) -> None:
        """Start the servers, those that may be held in advance of their turn."""
        if not self.context.servers:
            for plan in self.scenario.plans(self.rig):
                self.context.start(plan, self.scenario.held)

    def prepare_in_advance(self) -> None:
        """Start the servers if they may be held; errors are reported when it is their turn."""
        if self.scenario.held:
            with contextlib.suppress(Exception):
                self.prepare()

    def execute(self, on_result: OnResult, after_part: Callable[[], None] = lambda: None) -> None:
        """Run the parts, and kill every server at the end.

        Args:
            on_result: called with each result.
            after_part: called after each part, for work that can overlap with this scenario.
        """
        try:
            prepared = self._take(Step("start", lambda _context: self.prepare(), _PREPARE_SECONDS))
            if prepared.outcome != "PASS":
                on_result(prepared)
                return
            for step in self.scenario.steps:
                if time.monotonic() + step.least > self.deadline:
                    on_result(_cut(self.scenario, NO_TIME, step.name))
                    continue
                on_result(self._take(step))
                after_part()
        finally:
            self.close()

    def kill(self) -> None:
        """End every server."""
        for server in self.context.servers:
            server.wait_or_kill()
            server.log.close()

    def close(self) -> None:
        """End every server, and wait for the GPUs' memory."""
        self.kill()
        if self.context.gpus:
            cards.wait_until_free(self.context.gpus, _FREE_SECONDS)

    def _take(self, step: Step) -> Result:
        self.context.findings = findings = Findings()
        started = time.monotonic()
        limit = max(1.0, min(step.limit, self.deadline - started))
        errors: list[str] = []
        worker = threading.Thread(target=self._guarded, args=(step, errors), daemon=True)
        worker.start()
        worker.join(limit)
        if worker.is_alive():
            # Failures caused by killing the servers are not findings.
            findings, errors = findings.so_far(), [f"took longer than {limit:.0f} s"]
            for server in self.context.servers:
                server.wait_or_kill()  # pending requests then fail
            worker.join(10)
        name = (self.scenario.name, step.name)
        done = result(name, self.context.gpus, time.monotonic() - started, findings)
        if not errors:
            return done
        return _error(done, errors)

    def _guarded(self, step: Step, errors: list[str]) -> None:
        try:
            step.part(self.context)
        except ServerGoneError as error:
            errors.append(str(error))
        except Exception:
            errors.extend(traceback.format_exc().strip().splitlines()[-4:])


def _cut(scenario: Scenario, reason: str, part: str = "-") -> Result:
    return Result(scenario.name, part, (), "CUT", 0.0, {"why": reason}, ())


def _error(done: Result, reason: list[str]) -> Result:
    return replace(done, outcome="ERROR", failed=(*done.failed, *reason))


class Runner:
    """One run of many scenarios.

    Args:
        rig: the machine.
        scenarios: the most important first.
        seconds: after which everything has to be over.
        on_result: called with every result as it comes, from any thread.
    """

    def __init__(
        self, rig: Rig, scenarios: Iterable[Scenario], seconds: float, on_result: OnResult
    ) -> None:
        self._rig = rig
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._on_result = on_result
        self._runs: list[ScenarioRun] = []
        listed = list(scenarios)
        self._impossible = [one for one in listed if one.lacks(rig)]
        possible = [one for one in listed if not one.lacks(rig)]
        self._wide = [one for one in possible if one.gpus > 1 or one.alone]
        shared = [one for one in possible if one not in self._wide]
        self._queue = Queue(shared, self._deadline)

    def run(self) -> None:
        """Run all of them."""
        lanes = [_Lane(self, gpu) for gpu in self._rig.gpus]
        for scenario in self._impossible:
            self.on_result(_cut(scenario, scenario.lacks(self._rig)))
        busy, free = self._apart(lanes)
        try:
            threads = [_start_thread(lane) for lane in free]
            self._run_wide(busy)
            threads += [_start_thread(lane) for lane in busy]
            for thread in threads:
                thread.join()
        finally:  # also on interrupts, while lanes are running
            for run in self._runs:
                run.kill()
        for scenario in self._queue.cut:
            self.on_result(_cut(scenario, NO_TIME))

    def _apart(self, lanes: list["_Lane"]) -> tuple[list["_Lane"], list["_Lane"]]:
        """Return the lanes that have to wait for the wide scenarios, and those that have not."""
        if any(one.alone for one in self._wide):
            return lanes, []
        widest = max((one.gpus for one in self._wide), default=0)
        return lanes[:widest], lanes[widest:]

    def _run_wide(self, lanes: list["_Lane"]) -> None:
        runs = [self._run(one, self._rig.gpus[: one.gpus]) for one in self._wide]
        for run, next_run in itertools.zip_longest(runs, runs[1:]):
            if time.monotonic() + run.scenario.seconds > self._deadline:
                self.on_result(_cut(run.scenario, NO_TIME))
                run.kill()
                continue
            # What comes after is imported while the GPUs are at work.
            if run.scenario.alone:
                run.execute(self.on_result)
            elif next_run is None:
                run.execute(self.on_result, partial(_fill, lanes))
            else:
                run.execute(self.on_result, next_run.prepare_in_advance)

    def start(self, gpu: int, after: float) -> ScenarioRun | None:
        """Return the next run of a lane that has `after` seconds of work before it."""
        with self._lock:
            scenario = self._queue.take(time.monotonic() + after)
        return None if scenario is None else self._run(scenario, (gpu,))

    def _run(self, scenario: Scenario, gpus: tuple[int, ...]) -> ScenarioRun:
        run = ScenarioRun(self._rig, scenario, gpus, self._deadline)
        self._runs.append(run)
        return run

    def on_result(self, done: Result) -> None:
        """Report a result."""
        with self._lock:
            self._on_result(done)


def _start_thread(lane: "_Lane") -> threading.Thread:
    thread = threading.Thread(target=lane.run, daemon=True)
    thread.start()
    return thread


def _fill(lanes: list["_Lane"]) -> None:
    for lane in lanes:
        lane.fill()


class _Lane:
    """One GPU and the runs that wait for it."""

    def __init__(self, runner: Runner, gpu: int) -> None:
        self._runner = runner
        self._gpu = gpu
        self._waiting: deque[ScenarioRun] = deque()
        self._busy_until = 0.0

    def fill(self) -> None:
        """Take the next scenarios, and start their servers where these may be held."""
        while len(self._waiting) < AHEAD and not self._next_is_measured():
            busy = max(0.0, self._busy_until - time.monotonic())
            after = busy + sum(run.scenario.seconds for run in self._waiting)
            run = self._runner.start(self._gpu, after)
            if run is None:
                return
            self._waiting.append(run)
            run.prepare_in_advance()

    def run(self) -> None:
        """Run scenarios until none fits any more."""
        self.fill()
        while self._waiting:
            run = self._waiting.popleft()
            self._busy_until = time.monotonic() + run.scenario.seconds
            if run.scenario.held:
                self.fill()
                run.execute(self._runner.on_result)
            else:
                run.execute(self._runner.on_result, self.fill)
            self._busy_until = 0.0
            self.fill()

    def _next_is_measured(self) -> bool:
        """Return whether the next start is measured, so that no other imports may run."""
        return bool(self._waiting) and not self._waiting[0].scenario.held
