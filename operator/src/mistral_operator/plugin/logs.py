"""`kubectl msd logs`: the logs of all replicas in the order of time. Pure."""

from collections.abc import Mapping

from mistral_server.contract.lenient import printable


def merged(logs: Mapping[str, str], *, timestamps: bool) -> list[str]:
    """Return the lines of several logs in the order of time, each with the name of its log.

    Args:
        logs: texts of lines that begin with a timestamp, by name.
        timestamps: keep the timestamps.
    """
    lines = [
        (time, number, name, text)
        for name, log in logs.items()
        for number, (time, text) in enumerate(_lines(log))
    ]
    width = max(map(len, logs), default=0)
    return [
        f"{name.ljust(width)} {f'{time} ' if timestamps else ''}{printable(text)}"
        for time, _, name, text in sorted(lines, key=lambda line: (line[0], line[2], line[1]))
    ]


def _lines(log: str) -> list[tuple[str, str]]:
    """Split lines into timestamp and text; one without a timestamp has that of the line before."""
    result, last = list[tuple[str, str]](), ""
    # Not by `splitlines`: a client could begin a line of its own with other separators.
    for line in log.removesuffix("\n").split("\n") if log else ():
        time, text = split_line(line)
        last = time or last
        result.append((last, text))
    return result


def split_line(line: str) -> tuple[str, str]:
    """Return the timestamp of a line and its text; the former is empty if it has none."""
    time, space, text = line.partition(" ")
    return (time, text) if space and time[:4].isdecimal() and "T" in time else ("", line)
