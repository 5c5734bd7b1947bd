"""What came of the requests of steady clients, and what a table says of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

OK = "ok"


@dataclass(frozen=True)
class Outcome:
    """What came of one request."""

    client: str
    """The kind of client: see `steady_clients.CLIENTS`."""
    began: float
    """When it was sent, as a time of day in seconds."""
    seconds: float
    """How long it took."""
    result: str
    """`ok`, the status of an error, or what the connection did: `refused`, `unreachable`, `reset`,
    `closed` without a response, `cut` within one, or `silent`."""
    first_seconds: float | None = None
    """How long the client waited for the first byte of the body."""
    retry_after: str | None = None
    """The header of an error."""
    detail: str = ""
    """What the client saw of a failure."""

    @property
    def ended(self) -> float:
        """When the request was over."""
        return self.began + self.seconds

    @property
    def failed(self) -> bool:
        """Whether the client got no complete response."""
        return self.result != OK


def failures(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the requests that failed."""
    return [one for one in outcomes if one.failed]


def longest_wait(outcomes: Iterable[Outcome]) -> float:
    """Return how long the client waited that waited longest and was answered."""
    return max((one.first_seconds or 0 for one in outcomes if not one.failed), default=0)


def failing_seconds(outcomes: Iterable[Outcome]) -> float:
    """Return the time from the first failure to the end of the last one."""
    failed = failures(outcomes)
    if not failed:
        return 0
    return max(one.ended for one in failed) - min(one.began for one in failed)


def described(outcomes: Iterable[Outcome]) -> str:
    """Return what failed, for the message of an assertion: each kind of failure with its times."""
    seen = list(outcomes)
    start = min((one.began for one in seen), default=0)
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in failures(seen):
        groups[one.client, one.result].append(one)
    lines = [
        f"{len(group)} x {client}: {result}, sent {group[0].began - start:.1f} to"
        f" {group[-1].began - start:.1f} s after the first request, failed after"
        f" {group[0].seconds:.1f} s: {group[0].detail}"
        for (client, result), group in groups.items()
    ]
    return "\n".join([f"{len(failures(seen))} of {len(seen)} requests failed", *lines])


def results(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Return how often each result came."""
    return Counter(one.result for one in outcomes)


HEADER = (
    f"{'scenario':<34} {'endpoint':<10} {'requests':>8} {'failed':>7} {'failing, s':>10}"
    f" {'longest wait, s':>15}  failures"
)


def row(scenario: str, endpoint: str, outcomes: Iterable[Outcome]) -> str:
    """Return a row of the table."""
    seen = list(outcomes)
    failed = results(failures(seen))
    kinds = ", ".join(f"{result} {count}" for result, count in sorted(failed.items())) or "-"
    return (
        f"{scenario:<34} {endpoint:<10} {len(seen):>8} {failed.total():>7}"
        f" {failing_seconds(seen):>10.1f} {longest_wait(seen):>15.1f}  {kinds}"
    )
