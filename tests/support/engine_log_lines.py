"""Lines of vLLM's log, and what the classifier reads in them."""

from mistral_server.engine_log.classify import Classification, Classifier

CORE = "(EngineCore pid=12) ERROR 11-24 12:35:48 [core.py:1330] "
WORKER = "(Worker_TP1 pid=14) ERROR 11-24 12:35:48 [multiproc_executor.py:900] "
API = "(APIServer pid=1) "
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 350.00 MiB. GPU 0 has a total"
    " capacity of 23.68 GiB of which 212.81 MiB is free."
)
GENERIC = [
    f"{API}Traceback (most recent call last):",
    (
        f"{API}RuntimeError: Engine core initialization failed. See root cause above."
        " Failed core proc(s): {}"
    ),
]


def classification(*lines: str) -> Classification | None:
    """Return what a log of these lines shows."""
    classifier = Classifier()
    for line in lines:
        classifier.read(f"{line}\r\n")
    return classifier.classification()


def in_functions(*functions: str, prefix: str = CORE) -> list[str]:
    """Return a traceback through some functions."""
    frames = [f'{prefix}  File "/opt/vllm/x.py", line 5, in {name}' for name in functions]
    return [f"{prefix}Traceback (most recent call last):", *frames]
