"""Container images and the CPU engine, made without a registry and without docker.

``engine`` makes the virtual environment with vLLM's CPU build, ``checkpoint`` a tiny model of
Mistral-Small's shape, ``rootfs`` a Debian with our CPython, ``oci`` archives; ``server_image`` and
``operator_image`` put them together, and ``cli`` is ``mistral-dev images``.
"""
