"""Log output: text, or one JSON object per line for log collectors."""

import logging
import sys

from mistral_operator.process.settings import ProcessSettings
from mistral_server.contract.public_log import formatter


def configure(settings: ProcessSettings) -> None:
    """Set up the root logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(as_json=settings.log_format == "json"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # Kopf logs every event of every object at info.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # lifecycle.py and leader_election.py log the same in one line.
    for name in (
        "kopf._core.reactor.orchestration",
        "kopf._core.reactor.running",
        "kubernetes.aio.leaderelection",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
