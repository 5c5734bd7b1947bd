"""Names of the server's settings, and the flag of vLLM that each becomes.

A setting is named by its path in `ServerSettings`, such as `engine.context_length`; the prefix
`fetch.` is for `FetchSettings`. The server's messages and reports use these names. The operator
translates them into fields of the resource, and `mistral-server classify` into flags.
"""

import re
from collections.abc import Mapping

FLAGS: dict[str, str] = {
    "engine.api_servers": "--api-server-count",
    "engine.context_length": "--max-model-len",
    "engine.gpu_memory_utilization": "--gpu-memory-utilization",
    "engine.images_per_prompt": "--limit-mm-per-prompt",
    "engine.kv_cache_dtype": "--kv-cache-dtype",
    "engine.kv_cache_memory_bytes": "--kv-cache-memory-bytes",
    "engine.kv_offload_bytes": "--kv-offloading-size",
    "engine.max_batched_tokens": "--max-num-batched-tokens",
    "engine.max_sequences": "--max-num-seqs",
    "engine.media_domains": "--allowed-media-domains",
    "engine.speculation": "--speculative-config",
    "engine.temperature": "--override-generation-config",
    "engine.tensor_parallel_size": "--tensor-parallel-size",
    "fetch.revision": "--revision",
    "lifecycle.drain_seconds": "--shutdown-timeout",
    "model.dtype": "--dtype",
    "model.path": "--model",
    "model.quantization": "--quantization",
    "model.served_name": "--served-model-name",
}
"""The flag of each setting that has one. `argv` renders them. As an extra argument each one is
rejected with the name of its setting."""

FLAGS_BESIDES: dict[str, str] = {
    "--config-format": "model.format",
    "--enable-auto-tool-choice": "engine.tools",
    "--h11-max-incomplete-event-size": "gate.limits.header_bytes",
    "--load-format": "model.format",
    "--tokenizer-mode": "model.format",
    "--tool-call-parser": "engine.tools",
}
"""Further flags that `argv` renders: several of one setting, or one of a setting that is not the
engine's alone."""

MEMORY_LIMIT = "the container's memory limit"
SHARED_MEMORY = "the size of /dev/shm"
"""Two limits that are set on the container and not in the settings."""


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return a text with settings replaced by other names.

    Only whole names are replaced: neither `spec.engine.temperature` nor `engine.temperatures`
    contains the setting `engine.temperature`.
    """
    longest_first = sorted(names, key=len, reverse=True)
    pattern = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-]|\.\w)"
    return re.sub(pattern, lambda match: names[match[0]], text)


def with_flags(text: str) -> str:
    """Return a text with the flag after the name of each setting that has one."""
    return renamed(text, {setting: f"{setting} ({flag})" for setting, flag in FLAGS.items()})
