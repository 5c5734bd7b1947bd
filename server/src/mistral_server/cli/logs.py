"""The log of the supervisor and of the fetch: what it quotes of other processes is made public."""

import logging
import sys

from mistral_server.contract.public_log import PublicFormatter


def configure() -> None:
    """Set up the root logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PublicFormatter("mistral-server %(levelname)s %(asctime)s [%(name)s] %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
