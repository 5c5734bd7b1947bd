"""The time as Kubernetes writes it."""

from datetime import UTC, datetime


def now_text() -> str:
    """Return the time in UTC as RFC 3339 with microseconds, as Events want it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Return a time that Kubernetes wrote.

    Raises:
        ValueError: it is no time.
    """
    return datetime.fromisoformat(text)


def to_seconds(text: str) -> str:
    """Return a time of `now_text` without its fraction, as conditions want it."""
    return text[:19] + "Z"
