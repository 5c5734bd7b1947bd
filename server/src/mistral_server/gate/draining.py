"""Whether the server drains, as the supervisor tells every API process of vLLM: by a file."""

from collections.abc import Mapping
from pathlib import Path

from mistral_server.contract import DRAINING_ENV


class Draining:
    """Whether the server of this process drains.

    A client that keeps its connection would keep this pod: load balancers choose a pod for a
    connection, not for a request. So while the server drains, each response closes its connection,
    and the next request of the client reaches a pod that stays.

    Args:
        environment: of the process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get(DRAINING_ENV)
        self._file = Path(path) if path else None

    def __call__(self) -> bool:
        """Return whether the server drains; takes a few microseconds."""
        return self._file is not None and self._file.exists()
