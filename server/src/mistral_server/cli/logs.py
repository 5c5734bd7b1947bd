"""The log of the supervisor and of the fetch: what it quotes of other processes is made public."""

import logging
import sys

from mistral_server.contract import LogSettings
from mistral_server.contract.public_log import PublicFormatter, formatter

_OWN = "mistral-server %(levelname)s %(asctime)s [%(name)s] %(message)s"


def configure(settings: LogSettings | None = None) -> None:
    """Set up the root logger.

    Args:
        settings: of the server; None before they are read.
    """
    chosen = settings.format if settings is not None else None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PublicFormatter(_OWN) if chosen is None else formatter(as_json=chosen == "JSON")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=settings is not None)
