"""Ask one question and print the answer: `python chat.py "Why is the sky blue?"`."""

from endpoint import argument_parser, connect
from openai import OpenAI

QUESTION = "Name three things that make a good bread."


def ask(client: OpenAI, model: str, question: str) -> tuple[str, bool]:
    """Return the answer, and whether it is complete.

    No temperature: the endpoint has the model's own. No max_tokens: the answer may fill what the
    prompt leaves of the context. A number as large as the whole context would be refused, since
    prompt and answer share it.
    """
    completion = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}]
    )
    choice = completion.choices[0]
    return choice.message.content or "", choice.finish_reason == "stop"


def main() -> None:
    """Run the program."""
    parser = argument_parser(__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    arguments = parser.parse_args()

    client, model = connect(arguments)
    answer, complete = ask(client, model, arguments.question)
    print(answer)
    if not complete:
        print("(The context is full, or the answer repeated itself: it was cut.)")


if __name__ == "__main__":
    main()
