"""The way from the machine's loopback into the namespace of a cluster; used by `cluster`."""

from __future__ import annotations

from mistral_dev.processes import Processes
from mistral_dev.settings import is_free

PARTS = ("expose-outside", "expose-inside")
"""The two ends, connected by a socket file, so that no route joins the two networks."""

READY_SECONDS = 10.0


def start(processes: Processes, port: int) -> None:
    """Make 127.0.0.1:`port` of the machine lead to 127.0.0.1:`port` of the namespace."""
    outside, inside = PARTS
    socket = processes.layout.api_socket
    listen = f"UNIX-LISTEN:{socket},fork,unlink-early"
    processes.start(inside, ["socat", listen, f"TCP:127.0.0.1:{port}"])
    processes.wait_ready(inside, socket.exists, READY_SECONDS)
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    processes.start(outside, ["socat", listen, f"UNIX-CONNECT:{socket}"], outside=True)
    processes.wait_ready(
        outside, lambda: not is_free(port) and processes.alive(outside), READY_SECONDS
    )


def stop(processes: Processes) -> None:
    """Stop both ends, whose open connections do not keep them."""
    processes.stop(PARTS, seconds=2)
