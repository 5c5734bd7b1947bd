"""What could not be read, each a sentence for the user. Pure."""

from collections.abc import Sequence

from mistral_server.contract import public_text

_LONGEST_NOTE = 4096
"""Characters of a note. Texts for users cut it further once known secrets are taken out."""
_NAMED = 3
"""Names that a sentence about many has."""


def some(names: Sequence[str]) -> str:
    """Return the first of several names, and how many more there are."""
    shown, more = ", ".join(names[:_NAMED]), len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


class Notes:
    """Collects notes; of many pods that do not answer it makes one sentence."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._silent: dict[int, list[str]] = {}
        """Pods that did not answer, by port."""
        self._unasked: list[str] = []

    def add(self, text: str) -> None:
        """Add a note, once. Others may have chosen a part of it."""
        public = public_text(text, _LONGEST_NOTE)
        if public not in self._texts:
            self._texts.append(public)

    def add_silent(self, pod: str, port: int) -> None:
        """Add a pod that does not answer at a port."""
        self._silent.setdefault(port, []).append(pod)

    def add_unasked(self, pod: str) -> None:
        """Add a pod that was not asked before the time was over."""
        if pod not in self._unasked:
            self._unasked.append(pod)

    @property
    def texts(self) -> list[str]:
        """All notes."""
        texts = [*self._texts]
        for port, pods in self._silent.items():
            pods = sorted(pods)
            one = len(pods) == 1
            texts.append(
                (f"pod {pods[0]} does" if one else f"{len(pods)} pods do")
                + f" not answer at port {port} by way of the API server"
                + ("" if one else f" ({some(pods)})")
                + ": a NetworkPolicy may not allow it"
            )
        if self._unasked:
            texts.append(
                f"there was no time for the answers of {len(self._unasked)} more pods"
                f" ({some(sorted(self._unasked))})"
            )
        return texts
