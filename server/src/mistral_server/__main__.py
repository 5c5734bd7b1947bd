"""The entry point ``mistral-server``, also as ``python -m mistral_server``."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line."""
    # First of all: the kernel drops a signal that process 1 of a container does not handle. A pod
    # that was deleted during the imports used to start an engine and hold its GPUs until the grace
    # period was over. The supervisor later replaces this handler by its drain.
    signal.signal(signal.SIGTERM, _end)
    from mistral_server.cli.main import cli

    cli(prog_name="mistral-server")


def _end(number: int, _frame: FrameType | None) -> None:
    """Exit as an unhandled signal does; there is nothing to clean up."""
    os._exit(128 + number)


if __name__ == "__main__":
    main()
