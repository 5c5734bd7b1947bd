"""Run kubectl against a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mistral_dev.commands import run


@dataclass(frozen=True)
class Kubectl:
    """A kubectl with its kubeconfig, to be called with its arguments."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and return what it printed.

        Args:
            arguments: as on the command line.
            text: standard input, for `-f -`.

        Raises:
            CommandFailedError: it failed; its output is in `output`.
        """
        return run([self.program, "--kubeconfig", self.kubeconfig, *arguments], text=text)
