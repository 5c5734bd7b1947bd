"""Keep tracebacks of clients' mistakes out of the log of vLLM.

It logs the traceback of every exception of mistral-common, and of every one within a stream. Wrong
requests raise them too, so that each wrote up to forty lines, with parts of its text.
"""

import logging

from mistral_server.gate.engine_error_rules import RULES

LOGGERS = ("vllm.renderers.mistral", "vllm.entrypoints.openai.chat_completion.serving")
"""Of vLLM 0.32. A name that another version does not use has no effect."""


class _Shortened(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record of a client's mistake to its first line."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and any(rule.pattern.search(str(error)) for rule in RULES):
            record.msg = f"{record.getMessage()} ({type(error).__name__}: the request is wrong)"
            record.args = ()
            record.exc_info = record.exc_text = None
        return True


_FILTER = _Shortened()


def shorten_mistakes() -> None:
    """Filter the records of these loggers; does nothing the second time."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
