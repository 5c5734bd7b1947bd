"""The log of the supervisor and of the fetch: what it quotes of other processes is made public."""

import logging
import sys
from typing import Any

from mistral_server.contract import public_text

_LONGEST_LINE = 4096


class PublicFormatter(logging.Formatter):
    """Formats a record as one line, and a traceback below it, without secrets and escapes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        record.message = public_text(record.message, _LONGEST_LINE)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(public_text(line, _LONGEST_LINE) for line in lines)


def configure() -> None:
    """Set up the root logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PublicFormatter("mistral-server %(levelname)s %(asctime)s [%(name)s] %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
