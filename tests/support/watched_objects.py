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

    def read(self, lines: IO[bytes]) -> None:
        """Read events until the watch ends."""
        for line in lines:
            event = json.loads(line)
            self.seen.append(Seen(time.time(), event["type"] == "DELETED", event["object"]))


@contextmanager
def watched(namespace: Namespace, group: str, plural: str) -> Iterator[Watched]:
    """Watch the objects of a kind until the block ends.

    Args:
        namespace: of the objects.
        group: path of the kind's group and version, such as `api/v1`.
        plural: of the kind.
    """
    path = f"/{group}/namespaces/{namespace.name}/{plural}?watch=true"
    process = subprocess.Popen(
        [tools.program("kubectl"), "get", "--raw", path],
        stdout=subprocess.PIPE,
        env=namespace.cluster.environment(),
    )
    assert process.stdout is not None
    result = Watched()
    reader = threading.Thread(target=result.read, args=(process.stdout,))
    reader.start()
    try:
        yield result
        assert process.poll() is None, f"the watch of {plural} ended with {process.returncode}"
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()
