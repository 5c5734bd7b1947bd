"""Memoize what vLLM's streaming parsers derive from the vocabulary's special tokens.

vLLM 0.27 to 0.33 build three parsers for each chat with `--tool-call-parser mistral`, and each of
them compiles one regular expression for every special token of the tokenizer: 1,000 of them in
Mistral-Small-3.2's, 0.04 to 0.13 s of CPU a parser, on the event loop that also sends every other
request's tokens. The cache of `regex` holds 500 patterns, so it never helps. Known upstream as
issue 58145; pull request 58172 memoizes the same function.

The result depends on the tokenizer's special tokens and on some attributes of the parser's
configuration, and it is only ever read, so one copy serves all parsers.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

NAME = "parser_drop_info"

MODULE = "vllm.parser.engine.streaming_parser_engine"
CONFIG_MODULE = "vllm.parser.engine.parser_engine_config"
FUNCTION = "_build_drop_info"
PARAMETERS = ("config", "tokenizer")

CACHE_SIZE = 16
"""Results that are kept: one for each tokenizer and format of a parser, and a process has one."""

EXPECTED_NAMES = frozenset(
    {
        # What it reads of its arguments; `_Key` covers all of it.
        *("all_special_tokens", "all_special_ids"),
        *("token_id_terminals", "values", "terminals", "terminal_literals", "preserve_tokens"),
        "terminal_defs",
        # What it computes with.
        *("list", "set", "zip", "add", "regex", "compile", "escape"),
        *("DROP_TERMINAL", "TerminalDef", "LexerShape", "_DropInfo"),
        *("AttributeError", "NotImplementedError"),
    }
)
"""Every name that the function of vLLM 0.27 to 0.33 looks up. One that is not here may be an input
that the key does not cover, and the function is then left alone."""


class WorkaroundState(Enum):
    """What became of the workaround, with the reason."""

    ACTIVE = "the parsers share what they derive from the special tokens"
    ABSENT = f"this vLLM has no {MODULE}.{FUNCTION}"
    NOT_NEEDED = "the parsers of this vLLM share what they derive from the special tokens"
    UNKNOWN = f"{FUNCTION} of this vLLM is not the one that the workaround was written for"
    WITHOUT_EFFECT = f"the parsers of this vLLM do not call {FUNCTION}"


def memoize() -> WorkaroundState:
    """Let this process's parsers share one result, if its vLLM is one that does not."""
    try:
        module = importlib.import_module(MODULE)
        config = importlib.import_module(CONFIG_MODULE).ParserEngineConfig(name="probe")
    except (ImportError, AttributeError):
        return WorkaroundState.ABSENT
    return memoize_in(module, config)


def memoize_in(module: ModuleType, probe: Any) -> WorkaroundState:
    """Memoize the function of a module.

    Args:
        module: has vLLM's streaming parser engine, or does not.
        probe: any configuration of a parser, to try what two parsers share.
    """
    original = getattr(module, FUNCTION, None)
    if original is None or not hasattr(module, "StreamingParserEngine"):
        return WorkaroundState.ABSENT
    if isinstance(original, _Memoized):
        return WorkaroundState.ACTIVE
    try:
        shared = _shares(module, probe)
    except Exception:  # whatever was rebuilt there, it is not what this was written for
        return WorkaroundState.UNKNOWN
    if shared:
        return WorkaroundState.NOT_NEEDED
    if not _is_expected(original):
        return WorkaroundState.UNKNOWN
    return _install(module, probe, original)


def _install(
    module: ModuleType, probe: Any, original: Callable[[Any, Any], Any]
) -> WorkaroundState:
    """Put the memoized function into its place, and take it out again if that changes nothing."""
    memoized = _Memoized(original)
    setattr(module, FUNCTION, memoized)
    effective = False
    try:
        effective = _shares(module, probe)
    finally:
        if not effective:
            setattr(module, FUNCTION, original)
    memoized.clear_cache()  # the probe's result serves no request
    return WorkaroundState.ACTIVE if effective else WorkaroundState.WITHOUT_EFFECT


@dataclass(frozen=True, slots=True)
class _Key:
    """What a result depends on.

    The tokenizer counts by its identity: its special tokens are fixed once it is loaded. A key
    that is kept keeps its tokenizer alive, so no other one can come to the same identity.
    """

    tokenizer: int
    contents: tuple[object, ...]
    arguments: tuple[Any, Any] = field(compare=False)


class _Memoized:
    """The function, with the last results kept."""

    def __init__(self, original: Callable[[Any, Any], Any]) -> None:
        self._original = original
        self._cached = functools.lru_cache(CACHE_SIZE)(lambda key: original(*key.arguments))

    def __call__(self, config: Any, tokenizer: Any) -> Any:
        """Return what the plain function returns."""
        try:
            key = _Key(id(tokenizer), _contents(config), (config, tokenizer))
            hash(key)
        except (AttributeError, TypeError):
            return self._original(config, tokenizer)
        return self._cached(key)

    def clear_cache(self) -> None:
        """Drop the results that are kept."""
        self._cached.cache_clear()


def _contents(config: Any) -> tuple[object, ...]:
    """Return what of a configuration decides the result."""
    return (
        frozenset(config.token_id_terminals.values()),
        tuple(config.terminals.items()),
        frozenset(getattr(config, "terminal_literals", ())),  # not before 0.30
        frozenset(config.preserve_tokens),
        tuple(
            (one.name, one.pattern.pattern, one.pattern.flags, one.is_literal, one.literal)
            for one in config.terminal_defs
        ),
    )


def _is_expected(function: object) -> bool:
    return (
        isinstance(function, FunctionType)
        # What a decorator or a closure brings along is not among the names of the function.
        and not hasattr(function, "__wrapped__")
        and function.__closure__ is None
        and tuple(inspect.signature(function).parameters) == PARAMETERS
        and EXPECTED_NAMES.issuperset(_names(function.__code__))
    )


def _names(code: CodeType) -> Iterator[str]:
    """Yield every global and attribute that code looks up, in its comprehensions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class _ProbeTokenizer:
    """A tokenizer with one special token."""

    all_special_tokens = ("<probe>",)
    all_special_ids = (0,)


def _shares(module: ModuleType, config: Any) -> bool:
    """Say whether two parsers of one configuration share the tables of their lexers."""
    tokenizer = _ProbeTokenizer()
    first, second = (
        module.StreamingParserEngine(config, tokenizer, vocab={})._lexer._shape for _ in range(2)
    )
    return first is second
