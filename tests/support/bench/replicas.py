"""A model of an endpoint: replicas with a KV cache each, a queue, starts that take minutes.

Discrete events. The queue is one for all replicas, as behind a perfect router, so that what differs
between two runs is the policy alone. A request computes at the speed that the batch had when it was
admitted. A terminating replica takes no request any more, and is gone when its last one has
ended, or after the drain time.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from bench.traces import Request, Trace

KV_TOKENS = 16 * 4096
"""Tokens that the KV cache of a replica holds. Few, so that a day has few enough requests."""
MOST_RUNNING = 64
"""Requests that a replica computes at the same time, whatever room its cache has."""
GPUS = 2
START_SECONDS = (120.0, 300.0)
DRAIN_SECONDS = 120.0
LOOK_SECONDS = 15.0
LEAST, MOST = 1, 10

DETECTED_AFTER = 256
"""Tokens of a loop after which the gate counts it as one."""


def token_seconds(batch: int) -> float:
    """Return the time of a token: a larger batch is slower for each, and faster for all."""
    return 0.020 + 0.0005 * batch


@dataclass(slots=True, eq=False)
class Running:
    """A request that is computed."""

    request: Request
    since: float
    seconds: float
    """Time of one of its tokens."""
    looping_from: float
    """When the gate knows that it loops."""

    def held(self, now: float) -> float:
        """Return the tokens that it holds in the cache."""
        return self.request.prompt + (now - self.since) / self.seconds


@dataclass(slots=True, eq=False)
class Replica:
    """One replica, from its creation."""

    created: float
    ready_at: float
    running: set[Running] = field(default_factory=set)
    terminating: bool = False
    gone: bool = False

    def usage(self, now: float) -> float:
        """Return the used share of the cache."""
        return sum(one.held(now) for one in self.running) / KV_TOKENS

    def takes(self, request: Request, now: float) -> bool:
        """Tell whether there is room for a request now; it may grow beyond, as in an engine that
        then preempts."""
        if len(self.running) >= MOST_RUNNING:
            return False
        return self.usage(now) + request.prompt / KV_TOKENS <= 1.0


@dataclass(frozen=True, slots=True)
class State:
    """What a policy sees at a look."""

    now: float
    desired: int
    """Replicas that were last decided."""
    pods: tuple[tuple[int, int, float], ...]
    """Running and looping requests of each ready replica, and the used share of its cache."""
    waiting: int
    tokens_a_second: float


Policy = Callable[[State], int]


@dataclass
class Result:
    """What a run came to."""

    gpu_hours: float = 0.0
    queue_seconds: list[float] = field(default_factory=list)
    """Of requests that do not loop."""
    desired: list[tuple[float, int]] = field(default_factory=list)
    """When the number of desired replicas changed."""

    def queue_percentile(self, share: float) -> float:
        """Return a percentile of the time in the queue."""
        return sorted(self.queue_seconds)[int(share * (len(self.queue_seconds) - 1))]

    @property
    def changes(self) -> int:
        """How often the number of desired replicas changed."""
        return len(self.desired) - 1

    @property
    def reversals(self) -> int:
        """How often a change was followed by one in the other direction within 10 minutes."""
        steps = [
            (at, after - before) for (_, before), (at, after) in itertools.pairwise(self.desired)
        ]
        return sum(
            one[1] * other[1] < 0 and other[0] - one[0] < 600
            for one, other in itertools.pairwise(steps)
        )


class Endpoint:
    """One run of a trace under a policy."""

    def __init__(self, trace: Trace, policy: Policy) -> None:
        self._trace = trace
        self._policy = policy
        self._random = Random(trace.seed)
        self._replicas: list[Replica] = [Replica(0.0, 0.0) for _ in range(LEAST)]
        self._queue: deque[Request] = deque()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._result = Result(desired=[(0.0, LEAST)])

    def run(self) -> Result:
        """Run to the end of the trace."""
        arrivals = self._trace.requests()
        self._next_arrival(arrivals)
        self._at(LOOK_SECONDS, self._look)
        while self._events and self._events[0][0] < self._trace.seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        for replica in self._replicas:
            self._pay(replica, self._trace.seconds)
        # Who still waits has waited at least until now.
        self._result.queue_seconds += [
            self._trace.seconds - one.arrival for one in self._queue if not one.loops
        ]
        return self._result

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happen))

    def _next_arrival(self, arrivals: Iterator[Request]) -> None:
        request = next(arrivals, None)
        if request is None:
            return

        def arrive(now: float) -> None:
            self._queue.append(request)
            self._admit(now)
            self._next_arrival(arrivals)

        self._at(request.arrival, arrive)

    def _admit(self, now: float) -> None:
        while self._queue:
            request = self._queue[0]
            for replica in sorted(self._ready(now), key=lambda one: len(one.running)):
                if replica.takes(request, now):
                    break
            else:
                return
            self._queue.popleft()
            if not request.loops:
                self._result.queue_seconds.append(now - request.arrival)
            seconds = token_seconds(len(replica.running) + 1)
            looping = now + (request.useful + DETECTED_AFTER) * seconds
            running = Running(request, now, seconds, looping if request.loops else float("inf"))
            replica.running.add(running)
            self._at(now + request.tokens * seconds, self._end_of(replica, running))

    def _end_of(self, replica: Replica, running: Running) -> Callable[[float], None]:
        def end(now: float) -> None:
            replica.running.discard(running)
            if replica.terminating and not replica.running:
                self._leave(replica, now)
            self._admit(now)

        return end

    def _ready(self, now: float) -> list[Replica]:
        return [one for one in self._replicas if one.ready_at <= now and not one.terminating]

    def _look(self, now: float) -> None:
        staying = [one for one in self._replicas if not one.terminating]
        pods = tuple(
            (
                len(one.running),
                sum(each.looping_from <= now for each in one.running),
                min(one.usage(now), 1.0),
            )
            for one in self._ready(now)
        )
        rate = sum(1 / each.seconds for one in self._replicas for each in one.running)
        desired = self._policy(State(now, len(staying), pods, len(self._queue), rate))
        if desired != len(staying):
            self._result.desired.append((now, desired))
        for _ in range(desired - len(staying)):
            start = now + self._random.uniform(*START_SECONDS)
            self._replicas.append(Replica(now, start))
            self._at(start, self._admit)
        # As a ReplicaSet does: those that are not ready go first, then the youngest.
        order = sorted(staying, key=lambda one: one.ready_at)
        for replica in order[desired:]:
            replica.terminating = True
            if not replica.running:
                self._leave(replica, now)
            else:
                self._at(now + DRAIN_SECONDS, lambda at, one=replica: self._leave(one, at))  # type: ignore[misc]
        self._at(now + LOOK_SECONDS, self._look)

    def _leave(self, replica: Replica, now: float) -> None:
        if not replica.gone:
            self._pay(replica, now)
            replica.gone = True
            self._replicas.remove(replica)

    def _pay(self, replica: Replica, now: float) -> None:
        self._result.gpu_hours += GPUS * (now - replica.created) / 3600
