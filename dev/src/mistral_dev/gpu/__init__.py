"""Prove the server on real GPUs; docs/gpu.md says how.

``pack`` and ``unpack`` bring vLLM to a machine without a network, ``run`` runs the scenarios there.
Start with ``scenarios``, which says what is proven, and ``runner``, which says in which order. On
the machine this package runs with what vLLM needs itself: nothing here may import more.
"""
