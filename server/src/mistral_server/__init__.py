"""What runs in an endpoint's pod: the supervisor (PID 1) and the gate inside vLLM's API process.

``contract`` is what the operator renders and this package parses, ``engine/argv.py`` turns it into
a ``vllm serve`` command line, ``supervisor`` starts that command and owns the pod's health,
``gate`` is the ASGI middleware that vLLM loads. Nothing here knows of Kubernetes.
"""
