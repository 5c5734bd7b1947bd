"""Test the server on real GPUs; docs/gpu.md explains how.

Start with ``scenarios``, which defines what is tested, and ``runner``, which schedules it. On the
machine, this package may only import vLLM's own dependencies. ``mistral_dev.lab`` transfers vLLM to
a machine without a package index.
"""
