"""The clock of the machine. Pure rooms may not import it: they get a time as an argument."""

from datetime import UTC, datetime


def now_text() -> str:
    """Return the current time in UTC as RFC 3339 with microseconds, the format of Events."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
