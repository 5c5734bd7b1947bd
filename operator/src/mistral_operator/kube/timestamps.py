"""Timestamps in the formats of Kubernetes."""

from datetime import UTC, datetime


def now_text() -> str:
    """Return the current time in UTC as RFC 3339 with microseconds, the format of Events."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Parse a timestamp of Kubernetes.

    Raises:
        ValueError: the text is not a timestamp.
    """
    return datetime.fromisoformat(text)


def to_seconds(text: str) -> str:
    """Return a timestamp of `now_text` without its fraction, the format of conditions."""
    return text[:19] + "Z"
