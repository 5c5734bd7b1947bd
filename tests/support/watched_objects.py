"""The objects of a namespace as a watch shows them, each state with the time at which it came."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from cluster_namespace import Namespace, Object
from mistral_dev import tools

_PIECE_BYTES = 65536


@dataclass(frozen=True)
class Seen:
    """A state of an object."""

    at: float
    """Time of day in seconds."""
    deleted: bool
    body: Object


@dataclass
class Watched:
    """What a watch has shown until now."""

    seen: list[Seen] = field(default_factory=list)

    def first(self, condition: Callable[[Seen], bool], after: float = 0) -> float | None:
        """Return when a state first met a condition, None if none did."""
        return next((one.at for one in list(self.seen) if one.at > after and condition(one)), None)

    def read(self, stream: IO[bytes]) -> None:
        """Read events until the watch ends."""
        decoder, text = json.JSONDecoder(), ""
        while piece := stream.read1(_PIECE_BYTES):  # type: ignore[attr-defined]  # BufferedReader
            now = time.time()
            text += piece.decode()
            while text:
                try:
                    event, end = decoder.raw_decode(text)
                except ValueError:
                    break  # the rest is still to come
                text = text[end:].lstrip()
                self.seen.append(Seen(now, event["type"] == "DELETED", event["object"]))


@contextmanager
def watched(namespace: Namespace, kind: str) -> Iterator[Watched]:
    """Watch the objects of a kind until the block ends."""
    command = [str(tools.program("kubectl")), "--namespace", namespace.name]
    process = subprocess.Popen(
        [*command, "get", kind, "--watch", "--output-watch-events", "--output=json"],
        stdout=subprocess.PIPE,
        env=namespace.cluster.environment(),
    )
    assert process.stdout is not None
    result = Watched()
    reader = threading.Thread(target=result.read, args=(process.stdout,))
    reader.start()
    try:
        yield result
        assert process.poll() is None, f"the watch of {kind} ended with {process.returncode}"
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()
