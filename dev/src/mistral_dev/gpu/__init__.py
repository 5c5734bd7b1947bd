"""Prove the server on real GPUs; docs/gpu.md says how.

Start with ``scenarios``, which says what is proven, and ``runner``, which says in which order. On
the machine this package runs with what vLLM needs itself: nothing here may import more. Where that
machine has no package index, ``mistral_dev.lab`` brings vLLM to it.
"""
