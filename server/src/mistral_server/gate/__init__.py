"""The gate inside vLLM's API process, loaded by ``--middleware mistral_server.gate.Gate``."""

from mistral_server.gate.middleware import Gate

__all__ = ["Gate"]
