"""The code in an endpoint's pod: the supervisor (PID 1) and the gate inside vLLM's API process.

``contract`` defines the settings that the operator renders and this package parses.
``engine/argv.py`` turns them into a ``vllm serve`` command line, ``supervisor`` starts that command
and owns the pod's health, and ``gate`` is the ASGI middleware that vLLM loads. Nothing here depends
on Kubernetes.
"""
