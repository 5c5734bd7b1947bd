"""Ask one question and print the answer while it is written: `python stream.py "Tell a story."`."""

from collections.abc import Iterator

from endpoint import argument_parser, connect
from openai import OpenAI

QUESTION = "Tell a story of five sentences about a lighthouse."


def ask(client: OpenAI, model: str, question: str) -> Iterator[str]:
    """Yield the answer in pieces, and at the end one line on what it took."""
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},  # one more chunk, which counts the tokens
    )
    for chunk in stream:
        for choice in chunk.choices:  # none in the chunk that counts
            yield choice.delta.content or ""  # none in the chunk that ends the answer
            if choice.finish_reason == "length":
                yield "\n(The context is full, or the answer repeated itself: it was cut.)"
        if chunk.usage is not None:
            yield f"\n({chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out)"


def main() -> None:
    """Run the program."""
    parser = argument_parser(__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    arguments = parser.parse_args()

    client, model = connect(arguments)
    for piece in ask(client, model, arguments.question):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
