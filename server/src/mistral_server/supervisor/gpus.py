"""Which GPUs this pod has, asked of nvidia-smi before the engine starts. Changes no setting."""

import logging
import re
import subprocess
from collections.abc import Sequence

_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
_LIST = ("nvidia-smi", "-L")
_MIG = re.compile(r"MIG \S+(?= +Device)")
"""A MIG device in the list, such as ``MIG 1g.18gb     Device  0: (UUID: ...)``."""
_SECONDS = 20.0
"""Without the persistence daemon, each GPU takes a second or two."""

_log = logging.getLogger(__name__)


def gpus() -> tuple[str, ...]:
    """Return name, driver and compute capability of each GPU; nothing if they are not known.

    The profile of each MIG device follows: what is tuned for a slice of a GPU depends on its size.
    """
    try:
        cards, devices = _output(_QUERY), _output(_LIST)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi does not say which GPUs there are: %s", error)
        return ()
    slices = (match[0] for line in devices if (match := _MIG.match(line)))
    return (*cards, *slices) if cards else ()


def _output(command: Sequence[str]) -> list[str]:
    done = subprocess.run(  # noqa: S603 - a constant command of the image
        command, capture_output=True, text=True, timeout=_SECONDS, check=True
    )
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
