"""Log output: text, or one JSON object per line for log collectors."""

import json
import logging
import sys

from mistral_operator.process.settings import ProcessSettings
from mistral_server.contract import public_text
from mistral_server.contract.public_log import LONGEST_LINE, PublicFormatter


class JsonFormatter(PublicFormatter):
    """Formats a log record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, message and traceback, if any."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": public_text(record.getMessage(), LONGEST_LINE),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(settings: ProcessSettings) -> None:
    """Set up the root logger."""
    handler = logging.StreamHandler(sys.stderr)
    text = PublicFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else text)
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
