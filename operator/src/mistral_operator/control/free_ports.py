"""Which ports of the activators are free: of those that were used before, the longest unused.

A client of the endpoint that had a port may still connect there, with its API key. So a port rests
before another endpoint gets it, even if that one has none meanwhile.
"""

from collections.abc import Callable, Collection, Iterable

from mistral_operator.scale_to_zero import FIRST_PORT, PORTS
from mistral_server.guarded_http.guarded_server import HEAD_SECONDS

REST_SECONDS = HEAD_SECONDS + 15.0
"""How long clients may use a port of the activators that is their endpoint's no more. They keep an
idle connection for HEAD_SECONDS, and nodes need some seconds to apply a slice."""

ALL_PORTS = range(FIRST_PORT, FIRST_PORT + PORTS)


class FreePorts:
    """The ports that no endpoint has.

    Args:
        clock: the time in seconds; it only goes forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._released: dict[int, float] = {}
        """When each port that was used before was released, the longest unused first."""

    def release(self, port: int) -> None:
        """Take back a port; it rests from now on."""
        self._released.pop(port, None)
        self._released[port] = self._clock()

    def take(self, taken: Collection[int]) -> int | None:
        """Return a port that is not taken, None if none is free."""
        unused = (one for one in ALL_PORTS if one not in taken and one not in self._released)
        port = next(unused, None)
        if port is None and self.rest_seconds == 0.0:
            port = next(iter(self._released))
        if port is not None:
            self._released.pop(port, None)
        return port

    @property
    def rest_seconds(self) -> float | None:
        """Seconds until a port that was used before is free again, None if there is none."""
        released = next(iter(self._released.values()), None)
        return None if released is None else max(0.0, released + REST_SECONDS - self._clock())

    @property
    def resting(self) -> list[int]:
        """Ports that rest now."""
        since = self._clock() - REST_SECONDS
        return [port for port, released in self._released.items() if released > since]


def encode_ports(ports: Iterable[int]) -> str:
    """Return ports as the text of an annotation."""
    return ",".join(map(str, sorted(ports)))


def decode_ports(text: str) -> list[int]:
    """Return the ports in the text of an annotation; what is none is ignored."""
    texts = {str(port): port for port in ALL_PORTS}
    return [texts[one] for one in text.split(",") if one in texts]
