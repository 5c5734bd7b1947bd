"""vLLM's own conversion of tokens to the events of a stream, for tests of the gate.

``streams`` runs this same file with the engine's interpreter, once for any number of requests,
since importing vLLM takes some ten seconds. There tokens pass vLLM's detokenizer, its merging of
what the API process has not fetched yet, its parser of tool calls and its stream generator. Only
the model is missing: a test provides the tokens, and gets a stream for every way to split them.
"""

import asyncio
import importlib
import itertools
import random
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import engine_interpreter
from mistral_server.engine import drop_info

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Generation:
    """A request, and what the model generates for it."""

    body: dict[str, Any]
    choices: Sequence[Sequence[int | str]]
    """The tokens of each choice: ids, and texts that are encoded. Eight tokens have 128 cuts."""
    finish: str = "STOP"
    """Name of vLLM's `FinishReason`."""
    path: str = CHAT


@dataclass(frozen=True)
class Cut:
    """A stream whose tokens were split into events in one of all possible ways."""

    sizes: tuple[int, ...]
    """So many tokens the API process found at once."""
    events: list[str]


def streams(generations: Iterable[Generation]) -> list[list[Cut]]:
    """Return what vLLM streams for each generation, split in all possible ways.

    Raises:
        AssertionError: vLLM failed; the message is its log.
    """
    from mistral_dev.images import checkpoint

    question = [asdict(one) for one in generations]
    answers = engine_interpreter.ask(__file__, question, checkpoint.checkpoint())
    return [[Cut(tuple(sizes), events) for sizes, events in cuts] for cuts in answers]


def _inside(model: str, generations: list[dict[str, Any]]) -> list[Any]:
    drop_info.memoize()  # every split needs a parser, and each would take 40 ms
    vllm = _Vllm(model)
    return [vllm.every_cut(Generation(**one)) for one in generations]


def _partitions(length: int) -> Iterator[list[int]]:
    """Yield all ways to split a sequence, as the lengths of the pieces."""
    for ends in itertools.product((True, False), repeat=length - 1):
        cuts = [at for at, cut in enumerate(ends, start=1) if cut]
        yield [end - start for start, end in itertools.pairwise([0, *cuts, length])]


class _Vllm:
    """The part of an API process between the engine's tokens and the HTTP response."""

    def __init__(self, model: str) -> None:
        chat = importlib.import_module("vllm.entrypoints.openai.chat_completion.serving")
        completion = importlib.import_module("vllm.entrypoints.openai.completion.serving")
        for module in (chat, completion):
            vars(module)["time"] = SimpleNamespace(time=lambda: 0)  # is in each event
        self._engine = importlib.import_module("vllm.v1.engine")
        self._outputs = importlib.import_module("vllm.v1.engine.output_processor")
        registry = importlib.import_module("vllm.tokenizers.registry")
        self._tokenizer = registry.get_tokenizer(model, tokenizer_mode="mistral")
        self._chat = self._serving(chat.OpenAIServingChat)
        self._completion = self._serving(completion.OpenAIServingCompletion)

    def every_cut(self, generation: Generation) -> list[tuple[list[int], list[str]]]:
        """Return the events of a stream, split in all possible ways."""
        choices = [self._encoded(choice) for choice in generation.choices]
        return [
            (sizes, asyncio.run(self._events(generation, choices, sizes)))
            for sizes in _partitions(len(choices[0]))
        ]

    def _serving(self, kind: Any) -> Any:
        """Return vLLM's request handler without the engine, which it does not use here."""
        managers = importlib.import_module("vllm.parser.parser_manager")
        serving = kind.__new__(kind)
        serving.parser_cls = managers.ParserManager.get_parser(
            tool_parser_name="mistral",
            reasoning_parser_name="",
            enable_auto_tools=True,
            tool_strict_level="auto",
            model_name="tiny",
            is_harmony=False,
            tokenizer=self._tokenizer,
        )
        serving.model_config = SimpleNamespace(is_encoder_decoder=False)
        serving.response_role = "assistant"
        serving.system_fingerprint = "fingerprint"
        for name in (
            "enable_force_include_usage",
            "enable_log_outputs",
            "enable_per_request_metrics",
            "enable_prompt_tokens_details",
            "return_tokens_as_token_ids",
            "_include_reasoning_tokens_details",
        ):
            setattr(serving, name, False)
        return serving

    def _encoded(self, choice: Sequence[int | str]) -> list[int]:
        tokens: list[int] = []
        for part in choice:
            tokens += (
                [part]
                if isinstance(part, int)
                else self._tokenizer.encode(part, add_special_tokens=False)
            )
        return tokens

    async def _events(
        self, generation: Generation, choices: list[list[int]], sizes: list[int]
    ) -> list[str]:
        random.seed(0)  # the ids of calls
        request, params = self._request(generation)
        results = self._results(generation, params, choices, sizes)
        metadata = SimpleNamespace(final_usage_info=None)
        if generation.path == CHAT:
            stream = self._chat.chat_completion_stream_generator(
                request, results, "one", "tiny", [], self._tokenizer, metadata
            )
        else:
            stream = self._completion.completion_stream_generator(
                request,
                [{"prompt": "Hi"}],
                _numbered(results),
                "one",
                0,
                "tiny",
                1,
                self._tokenizer,
                metadata,
            )
        return [event async for event in stream]

    def _request(self, generation: Generation) -> tuple[Any, Any]:
        if generation.path == CHAT:
            chat = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
            request = chat.ChatCompletionRequest.model_validate(generation.body)
            if request.tools:
                parser = self._chat._make_parser(request, self._tokenizer, None)
                request = parser.adjust_request(request)
        else:
            completion = importlib.import_module("vllm.entrypoints.openai.completion.protocol")
            request = completion.CompletionRequest.model_validate(generation.body)
        return request, request.to_sampling_params(100, {})

    async def _results(
        self, generation: Generation, params: Any, choices: list[list[int]], sizes: list[int]
    ) -> AsyncIterator[Any]:
        """Yield what the API process finds, each time after so many tokens."""
        processor = self._outputs.OutputProcessor(self._tokenizer, log_stats=False)
        queue = self._outputs.RequestOutputCollector(params.output_kind, "one")
        names = self._add(processor, queue, params)
        finish = getattr(self._engine.FinishReason, generation.finish)
        at = 0
        for size in sizes:
            for step in range(at, at + size):
                over = finish if step == len(choices[0]) - 1 else None
                processor.process_outputs(
                    [
                        self._output(name, choice[step], over, params)
                        for name, choice in zip(names, choices, strict=True)
                    ]
                )
            at += size
            if (result := queue.get_nowait()) is not None:
                yield result

    def _add(self, processor: Any, queue: Any, params: Any) -> list[str]:
        """Add a request as vLLM's client of the engine does; return its parts' names."""
        request = self._engine.EngineCoreRequest(
            "one", [1, 3, 4], None, params, None, 0.0, None, None, None, external_req_id="one"
        )
        if params.n == 1:
            processor.add_request(request, None, None, 0, queue)
            return ["one"]
        sampling = importlib.import_module("vllm.v1.engine.parallel_sampling")
        parent = sampling.ParentRequest(request)
        names = []
        for index in range(params.n):
            part = copy(request)
            part.request_id, part.sampling_params = parent.get_child_info(index)
            processor.add_request(part, None, parent, index, queue)
            names.append(part.request_id)
        return names

    def _output(self, name: str, token: int, finish: Any, params: Any) -> Any:
        logprobs = None
        if params.logprobs is not None:
            numpy = importlib.import_module("numpy")
            outputs = importlib.import_module("vllm.v1.outputs")
            logprobs = outputs.LogprobsLists(
                numpy.array([[token, 5, 6]]), numpy.array([[-0.5, -1.0, -2.0]]), numpy.array([1])
            )
        return self._engine.EngineCoreOutput(
            name, [token], new_logprobs=logprobs, finish_reason=finish
        )


async def _numbered(results: AsyncIterator[Any]) -> AsyncIterator[tuple[int, Any]]:
    async for one in results:
        yield 0, one


if __name__ == "__main__":
    engine_interpreter.answer(partial(_inside, sys.argv[1]))
