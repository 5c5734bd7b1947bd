"""The interface to vLLM: arguments, versions, metrics, and workarounds in its API process."""
