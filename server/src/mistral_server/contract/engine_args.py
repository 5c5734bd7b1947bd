"""The allow-list for extra engine arguments.

Some of vLLM's arguments run code (`--middleware`, `--worker-cls`, `--trust-remote-code`, and
`--compilation-config`, whose `backend` names any importable object), expose data
(`--allowed-local-media-path`, `--api-key` in a process list) or break the operator's guarantees
(`--port`, `--shutdown-timeout`, `--disable-log-stats`). So only the listed arguments are allowed.
vLLM accepts `_` for `-`, `--flag=value` and unique abbreviations. The list is matched with the
exact name after replacing `_` by `-`, so no spelling bypasses it.

The operator validates a resource with the list, and the CRD's rule contains the names. The server
validates again, because an environment variable can be edited. `tests/engine` checks every name
with vLLM's own parser.
"""

import re
from collections.abc import Iterable

from mistral_server.contract.setting_names import FLAGS, FLAGS_BESIDES

ALLOWED_ENGINE_ARGS: frozenset[str] = frozenset(
    {
        "--async-scheduling",
        "--block-size",
        "--disable-custom-all-reduce",
        "--enable-chunked-prefill",
        "--enable-prefix-caching",
        "--enforce-eager",
        "--kv-cache-metrics",
        "--long-prefill-token-threshold",
        "--max-cudagraph-capture-size",
        "--max-num-queued-reqs",
        "--max-num-queued-tokens",
        "--mm-processor-cache-gb",
        "--no-async-scheduling",
        "--no-enable-chunked-prefill",
        "--no-enable-prefix-caching",
        "--num-gpu-blocks-override",
        "--prefix-caching-hash-algo",
        "--scheduling-policy",
        "--seed",
        "--sse-keep-alive-interval",
        "--stream-interval",
    }
)
"""Arguments that only tune speed or memory.

Those that limit the queue, and `--sse-keep-alive-interval`, are newer than vLLM 0.26, which rejects
them. The parser of 0.26 accepts all others and all that `argv` renders.
"""

SETTING_OF_FLAG: dict[str, str] = {
    **{flag: setting for setting, flag in FLAGS.items()},
    **FLAGS_BESIDES,
}
"""The setting of each flag that has one."""

_SHAPE = re.compile(r"--[A-Za-z0-9][A-Za-z0-9_.-]*(=[ -~]*)?")
"""A flag and its value in printable ASCII."""


class EngineArgumentError(ValueError):
    """An extra engine argument is not allowed; the message says which one and what to write."""


def canonical_flag(argument: str) -> str:
    """Return the flag of an argument as vLLM reads it: without its value, with `-` for `_`."""
    return argument.split("=", 1)[0].replace("_", "-")


def check_engine_args(arguments: Iterable[str]) -> None:
    """Raise `EngineArgumentError` for the first argument that is not allowed."""
    for argument in arguments:
        if not _SHAPE.fullmatch(argument):
            raise EngineArgumentError(
                f"{argument!r} is not an engine argument: write each item as --flag or --flag=value"
            )
        flag = canonical_flag(argument)
        if flag in SETTING_OF_FLAG:
            raise EngineArgumentError(
                f"{flag} has a setting of its own: set {SETTING_OF_FLAG[flag]}"
            )
        if flag not in ALLOWED_ENGINE_ARGS:
            raise EngineArgumentError(
                f"{flag} is not allowed; allowed are {', '.join(sorted(ALLOWED_ENGINE_ARGS))}"
            )
