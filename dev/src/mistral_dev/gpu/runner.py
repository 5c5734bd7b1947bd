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
from mistral_dev.gpu.scenario import Room, Scenario, ServerGoneError, Step

AHEAD = 3
"""Servers of a lane that import in advance: an import takes four times as long as a short test."""

NO_TIME = "no time left"

_FREE_SECONDS = 15.0
_PREPARE_SECONDS = 30.0

Told = Callable[[Result], None]


@dataclass
class Run:
    """One scenario on its GPUs."""

    rig: Rig
    scenario: Scenario
    gpus: tuple[int, ...]
    deadline: float
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        """Make the room."""
        self.room = Room(self.rig, self.gpus if self.rig.device == "cuda" else ())

    def prepare(self) -> None:
        """Start the servers, those that may be held in advance of their turn."""
        if not self.room.servers:
            for plan in self.scenario.plans(self.rig):
                self.room.start(plan, self.scenario.held)

    def prepare_in_advance(self) -> None:
        """Start the servers if they may be held; what goes wrong is told when it is their turn."""
        if self.scenario.held:
            with contextlib.suppress(Exception):
                self.prepare()

    def execute(self, tell: Told, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Go through the parts; whatever happens, no server is left at the end.

        Args:
            tell: called with each result.
            meanwhile: called after each part, for what others can do while this one goes on.
        """
        try:
            prepared = self._take(Step("start", lambda _room: self.prepare(), _PREPARE_SECONDS))
            if prepared.outcome != "PASS":
                tell(prepared)
                return
            for step in self.scenario.steps:
                if time.monotonic() + step.least > self.deadline:
                    tell(_cut(self.scenario, NO_TIME, step.name))
                    continue
                tell(self._take(step))
                meanwhile()
        finally:
            self.close()

    def kill(self) -> None:
        """End every server."""
        for server in self.room.servers:
            server.end()
            server.log.close()

    def close(self) -> None:
        """End every server, and wait for the GPUs' memory."""
        self.kill()
        if self.room.gpus:
            cards.settled(self.room.gpus, _FREE_SECONDS)

    def _take(self, step: Step) -> Result:
        self.room.findings = findings = Findings()
        began = time.monotonic()
        limit = max(1.0, min(step.limit, self.deadline - began))
        broken: list[str] = []
        worker = threading.Thread(target=self._guarded, args=(step, broken), daemon=True)
        worker.start()
        worker.join(limit)
        if worker.is_alive():
            # What fails because the servers are ended is no finding, and no reason.
            findings, broken = findings.so_far(), [f"took longer than {limit:.0f} s"]
            for server in self.room.servers:
                server.end()  # requests that wait for an answer get one
            worker.join(10)
        name = (self.scenario.name, step.name)
        done = result(name, self.room.gpus, time.monotonic() - began, findings)
        if not broken:
            return done
        return _broken(done, broken)

    def _guarded(self, step: Step, broken: list[str]) -> None:
        try:
            step.part(self.room)
        except ServerGoneError as error:
            broken.append(str(error))
        except Exception:
            broken.extend(traceback.format_exc().strip().splitlines()[-4:])


def _cut(scenario: Scenario, why: str, part: str = "-") -> Result:
    return Result(scenario.name, part, (), "CUT", 0.0, {"why": why}, ())


def _broken(done: Result, why: list[str]) -> Result:
    return replace(done, outcome="ERROR", failed=(*done.failed, *why))


class Runner:
    """One run of many scenarios.

    Args:
        rig: the machine.
        scenarios: the most important first.
        seconds: after which everything has to be over.
        tell: called with every result as it comes, from any thread.
    """

    def __init__(self, rig: Rig, scenarios: Iterable[Scenario], seconds: float, tell: Told) -> None:
        self._rig = rig
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._tell = tell
        self._runs: list[Run] = []
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
            self.tell(_cut(scenario, scenario.lacks(self._rig)))
        busy, free = self._apart(lanes)
        try:
            threads = [_started(lane) for lane in free]
            self._run_wide(busy)
            threads += [_started(lane) for lane in busy]
            for thread in threads:
                thread.join()
        finally:  # also where somebody asked for the end, and lanes are at work
            for run in self._runs:
                run.kill()
        for scenario in self._queue.cut:
            self.tell(_cut(scenario, NO_TIME))

    def _apart(self, lanes: list["_Lane"]) -> tuple[list["_Lane"], list["_Lane"]]:
        """Return the lanes that have to wait for the wide scenarios, and those that have not."""
        if any(one.alone for one in self._wide):
            return lanes, []
        widest = max((one.gpus for one in self._wide), default=0)
        return lanes[:widest], lanes[widest:]

    def _run_wide(self, lanes: list["_Lane"]) -> None:
        runs = [self._run(one, self._rig.gpus[: one.gpus]) for one in self._wide]
        for run, following in itertools.zip_longest(runs, runs[1:]):
            if time.monotonic() + run.scenario.seconds > self._deadline:
                self.tell(_cut(run.scenario, NO_TIME))
                run.kill()
                continue
            # What comes after is imported while the GPUs are at work.
            if run.scenario.alone:
                run.execute(self.tell)
            elif following is None:
                run.execute(self.tell, partial(_fill, lanes))
            else:
                run.execute(self.tell, following.prepare_in_advance)

    def start(self, gpu: int, after: float) -> Run | None:
        """Return the next run of a lane that has `after` seconds of work before it."""
        with self._lock:
            scenario = self._queue.take(time.monotonic() + after)
        return None if scenario is None else self._run(scenario, (gpu,))

    def _run(self, scenario: Scenario, gpus: tuple[int, ...]) -> Run:
        run = Run(self._rig, scenario, gpus, self._deadline)
        self._runs.append(run)
        return run

    def tell(self, done: Result) -> None:
        """Pass a result on."""
        with self._lock:
            self._tell(done)


def _started(lane: "_Lane") -> threading.Thread:
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
        self._waiting: deque[Run] = deque()
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
        """Go through the scenarios until none is left that fits."""
        self.fill()
        while self._waiting:
            run = self._waiting.popleft()
            self._busy_until = time.monotonic() + run.scenario.seconds
            if run.scenario.held:
                self.fill()
                run.execute(self._runner.tell)
            else:
                run.execute(self._runner.tell, self.fill)
            self._busy_until = 0.0
            self.fill()

    def _next_is_measured(self) -> bool:
        """Say whether the next start is measured, and must not meet the imports of others."""
        return bool(self._waiting) and not self._waiting[0].scenario.held
