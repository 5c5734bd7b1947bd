"""Let the records of this package reach the log of vLLM's API process.

vLLM configures its own logger and not the root, whose level one of its requirements
(model-hosting-container-standards) sets to ERROR: a warning of ours would be dropped.
"""

import logging

ENGINE, OWN = "vllm", "mistral_server"


def share() -> None:
    """Write our records where vLLM writes its own, in its format; nothing without vLLM."""
    handlers = logging.getLogger(ENGINE).handlers
    own = logging.getLogger(OWN)
    for handler in handlers:
        own.addHandler(handler)  # not a second time
    if handlers:
        own.setLevel(logging.INFO)
