"""Let the model call a function of ours: `python tools.py "What is 6 + 2 x 3, squared?"`.

The whole loop: offer the tool, receive a call, check it, run it, send the result back, and print
the answer that the model writes with it. What a model writes is input from outside: every step of
this file that looks careful is there because a model once did the other thing.
"""

import json
from typing import Any

from calculator import MAX_LENGTH, CalculationError, calculate
from endpoint import argument_parser, connect
from openai import OpenAI
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessage,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
)

QUESTION = "What is (17 + 25) * 389 - 2 ** 10? Use the calculator."

MAX_ROUNDS = 4
"""Answers with tool calls before the model has to answer without any."""

CALCULATOR: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Compute an arithmetic expression: numbers, + - * / // % ** and ( ).",
        # With strict, the engine lets the model write nothing but this schema and this name.
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "expression": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}
            },
            "required": ["expression"],
            "additionalProperties": False,
        },
    },
}


class UnfinishedError(Exception):
    """The answer was cut, so that its tool calls may be cut, too: none of them was run."""


def converse(client: OpenAI, model: str, question: str = QUESTION, **request_options: Any) -> str:
    """Return the model's answer to a question, running the tool calls that it makes on the way.

    Args:
        client: client of the endpoint.
        model: name of the model.
        question: what the user asks.
        request_options: further arguments of each request, such as `seed`.

    Raises:
        UnfinishedError: an answer with tool calls was cut.
    """
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    for round_number in range(MAX_ROUNDS + 1):
        options = {"tools": [CALCULATOR], **request_options}
        if round_number == MAX_ROUNDS:
            options["tool_choice"] = "none"  # enough: let it answer with what it has
        completion = client.chat.completions.create(model=model, messages=messages, **options)
        choice = completion.choices[0]
        calls = function_calls(choice.message)
        if not calls:
            return choice.message.content or ""
        if choice.finish_reason == "length":
            raise UnfinishedError(
                "The answer was cut in the middle of a tool call. Request less, or start the"
                " conversation anew: the context is full."
            )
        messages.append(assistant_message(choice.message, calls))
        for call in calls:
            result = run(call)
            print(f"  {call.function.name}({call.function.arguments}) -> {result}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise AssertionError("the last request allows no tool calls")


def function_calls(message: ChatCompletionMessage) -> list[ChatCompletionMessageFunctionToolCall]:
    """Return the calls in an answer. `tool_calls` is None, not empty, where there are none."""
    return [call for call in message.tool_calls or [] if call.type == "function"]


def assistant_message(
    message: ChatCompletionMessage, calls: list[ChatCompletionMessageFunctionToolCall]
) -> ChatCompletionMessageParam:
    """Return the model's turn as the next request has to repeat it, ids included."""
    return {
        "role": "assistant",
        "content": message.content,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in calls
        ],
    }


def run(call: ChatCompletionMessageFunctionToolCall) -> str:
    """Run one call and return the text for the model, which can mend what an error tells it."""
    name = call.function.name
    if name != "calculator":
        return f"Error: there is no function {name!r}; the only one is calculator."
    try:
        return str(calculate(expression_in(call.function.arguments)))
    except CalculationError as error:
        return f"Error: {error}."


def expression_in(arguments: str) -> str:
    """Return the expression in the arguments of a call, which are JSON if all went well.

    Raises:
        CalculationError: they do not match the schema. A strict endpoint never lets that
            happen; others do.
    """
    try:
        parsed = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise CalculationError(f"the arguments are not JSON: {error}") from error
    match parsed:
        case {"expression": str(expression)} if len(parsed) == 1:
            return expression
    raise CalculationError('the arguments must be {"expression": "..."} and nothing else')


def main() -> None:
    """Run the program."""
    parser = argument_parser(__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    arguments = parser.parse_args()

    client, model = connect(arguments)
    try:
        print(converse(client, model, arguments.question))
    except UnfinishedError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
