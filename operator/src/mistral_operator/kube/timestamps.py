"""Timestamps in the formats of Kubernetes; `clock.py` has the current one."""

from datetime import datetime


def parse_time(text: str) -> datetime:
    """Parse a timestamp of Kubernetes.

    Raises:
        ValueError: the text is not a timestamp.
    """
    return datetime.fromisoformat(text)


def to_seconds(text: str) -> str:
    """Return a timestamp of `clock.now_text` without its fraction, the format of conditions."""
    return text[:19] + "Z"
