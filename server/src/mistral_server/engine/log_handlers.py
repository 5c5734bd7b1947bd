"""Route the log records of this package to the log of vLLM's API process.

vLLM configures its own logger and not the root logger. One of its requirements
(model-hosting-container-standards) sets the root level to ERROR, which would drop our warnings.
"""

import logging

ENGINE, OWN = "vllm", "mistral_server"


def share() -> None:
    """Add vLLM's handlers to the logger of this package; does nothing without vLLM."""
    handlers = logging.getLogger(ENGINE).handlers
    own = logging.getLogger(OWN)
    for handler in handlers:
        own.addHandler(handler)  # does nothing the second time
    if handlers:
        own.setLevel(logging.INFO)
