"""Which GPUs this pod has, asked of nvidia-smi before the engine starts. Changes no setting."""

import logging
import subprocess

_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
_SECONDS = 20.0
"""Without the persistence daemon, each GPU takes a second or two."""

_log = logging.getLogger(__name__)


def gpus() -> tuple[str, ...]:
    """Return name, driver and compute capability of each GPU; nothing if they are not known."""
    try:
        done = subprocess.run(  # noqa: S603 - a constant command of the image
            _QUERY, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi does not say which GPUs there are: %s", error)
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
