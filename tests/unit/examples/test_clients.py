"""The client programs against an endpoint that says what a test wants to hear, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import chat
import image
import pytest
import stream
import tools
from endpoint import argument_parser, connect
from openai import OpenAI
from PIL import Image

Reply = dict[str, Any]

CUT = "(The context is full, or the answer repeated itself: it was cut.)"


@dataclass
class Endpoint:
    """Answers chats with `replies` in turn, the last one repeatedly, and keeps the requests."""

    server: ThreadingHTTPServer
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def client(self) -> OpenAI:
        """Return a client that does not try again."""
        return OpenAI(base_url=self.url, api_key="EMPTY", max_retries=0)

    def reply(self, request: dict[str, Any]) -> bytes:
        """Return the next answer."""
        self.requests.append(request)
        choice = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        body = {"id": "1", "created": 1, "model": "tiny"}
        if not request.get("stream"):
            message = {"role": "assistant", "content": None, **choice["message"]}
            chosen = {"index": 0, "finish_reason": "stop", **choice, "message": message}
            body |= {"object": "chat.completion", "choices": [chosen]}
            return json.dumps(body).encode()
        body |= {"object": "chat.completion.chunk", "choices": []}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            for piece in choice["pieces"]
        ]
        end = choice.get("finish_reason", "stop")
        chunks += [
            {"choices": [{"index": 0, "delta": {}, "finish_reason": end}]},
            {"usage": usage},
        ]
        lines = [json.dumps(body | chunk) for chunk in chunks]
        return "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]")).encode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Serve on a port of this host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = [{"id": "tiny", "object": "model", "created": 1, "owned_by": "us"}]
            self.answer(json.dumps({"object": "list", "data": models}).encode())

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            request = json.loads(self.rfile.read(length))
            kind = "text/event-stream" if request.get("stream") else "application/json"
            self.answer(served.reply(request), kind)

        def answer(self, body: bytes, kind: str = "application/json") -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Endpoint(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join(10)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[OpenAI]:
    """Return a client of the endpoint."""
    with endpoint.client() as one:
        yield one


def called(arguments: str, name: str = "calculator", reason: str = "tool_calls") -> Reply:
    """Return an answer with one call."""
    function = {"name": name, "arguments": arguments}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    return {"finish_reason": reason, "message": {"tool_calls": [call]}}


def answered(text: str) -> Reply:
    """Return an answer without calls, as vLLM writes it: without the field, which is None then."""
    return {"message": {"content": text}}


def test_a_chat_sets_neither_temperature_nor_a_number_of_tokens(
    endpoint: Endpoint, client: OpenAI
) -> None:
    endpoint.replies = [answered("Blue.")]

    assert chat.ask(client, "tiny", "Which color?") == ("Blue.", True)
    assert set(endpoint.requests[0]) == {"model", "messages"}


def test_a_chat_notices_that_the_answer_was_cut(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.replies = [{"finish_reason": "length", **answered("Bl")}]

    assert chat.ask(client, "tiny", "Which color?") == ("Bl", False)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("stop", "Blue.\n(5 tokens in, 2 out)"),
        ("length", f"Blue.\n{CUT}\n(5 tokens in, 2 out)"),
    ],
)
def test_a_stream_ends_with_what_it_took(
    endpoint: Endpoint, client: OpenAI, reason: str, shown: str
) -> None:
    endpoint.replies = [{"pieces": ["Bl", "ue."], "finish_reason": reason}]

    assert "".join(stream.ask(client, "tiny", "Which color?")) == shown


def test_the_image_made_on_the_spot_is_a_png_half_red_half_blue() -> None:
    with Image.open(BytesIO(image.half_red_half_blue())) as made:
        made.load()
        assert made.format == "PNG"
        assert made.size == (image.WIDTH, image.HEIGHT)
        assert made.getpixel((0, 0)) == tuple(image.RED)
        assert made.getpixel((image.WIDTH - 1, image.HEIGHT - 1)) == tuple(image.BLUE)


def test_an_image_travels_inside_the_request(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.replies = [answered("Two colors.")]
    url = image.data_url(b"\x89PNG", "image/png")

    assert image.ask(client, "tiny", "What?", url) == "Two colors."
    part = endpoint.requests[0]["messages"][0]["content"][1]
    assert part == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


@pytest.mark.parametrize(
    ("name", "words"), [("notes.txt", "is not an image"), ("gone.png", "cannot be read")]
)
def test_a_file_that_is_no_image_is_refused(tmp_path: Any, name: str, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        image.read_image(tmp_path / name)


def test_a_call_is_run_and_its_result_sent_back(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.replies = [called('{"expression": "6 * 7"}'), answered("It is 42.")]

    assert tools.converse(client, "tiny", "6 * 7?") == "It is 42."
    question, call, result = endpoint.requests[1]["messages"]
    assert question["content"] == "6 * 7?"
    assert call["tool_calls"][0]["id"] == "abcdefghi"
    assert result == {"role": "tool", "tool_call_id": "abcdefghi", "content": "42"}


def test_an_answer_without_calls_is_the_answer(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.replies = [answered("I know: 42.")]

    assert tools.converse(client, "tiny", "6 * 7?") == "I know: 42."
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (called('{"expression": "1 / 0"}'), "division by zero"),
        (called('{"expression": "__import__(1)"}'), "is not arithmetic"),
        (called('{"expression": 7}'), "the arguments must be"),
        (called('{"expression": "1", "more": 2}'), "the arguments must be"),
        (called("[1]"), "the arguments must be"),
        (called('{"expres'), "not JSON"),
        (called(""), "not JSON"),
        (called("{}", name="exec"), "no function 'exec'"),
    ],
)
def test_the_model_is_told_what_is_wrong_with_its_call(
    endpoint: Endpoint, client: OpenAI, reply: Reply, words: str
) -> None:
    endpoint.replies = [reply, answered("Sorry.")]

    assert tools.converse(client, "tiny", "?") == "Sorry."
    result = endpoint.requests[1]["messages"][-1]["content"]
    assert result.startswith("Error: ")
    assert words in result


def test_a_call_in_an_answer_that_was_cut_is_not_run(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.replies = [called("{}", reason="length")]

    with pytest.raises(tools.UnfinishedError):
        tools.converse(client, "tiny", "?")
    assert len(endpoint.requests) == 1


def test_a_model_that_calls_endlessly_is_made_to_answer(endpoint: Endpoint, client: OpenAI) -> None:
    again = called('{"expression": "1"}')
    endpoint.replies = [again] * tools.MAX_ROUNDS + [answered("Enough.")]

    assert tools.converse(client, "tiny", "?") == "Enough."
    choices = [request.get("tool_choice") for request in endpoint.requests]
    assert choices == [None] * tools.MAX_ROUNDS + ["none"]


PROGRAMS: dict[str, Callable[[], None]] = {
    "chat": chat.main,
    "stream": stream.main,
    "image": image.main,
    "tools": tools.main,
}


@pytest.mark.parametrize("main", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_finds_the_model_by_itself(
    endpoint: Endpoint,
    main: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("sys.argv", ["program"])
    endpoint.replies = [answered("Hello.") | {"pieces": ["Hello."]}]

    main()

    assert capsys.readouterr().out.startswith("Hello.\n")
    assert endpoint.requests[0]["model"] == "tiny"


def test_a_model_that_is_not_served_is_refused_with_those_that_are(endpoint: Endpoint) -> None:
    arguments = argument_parser("").parse_args(["--base-url", endpoint.url, "--model", "large"])

    with pytest.raises(SystemExit, match="large is not served here; --model can be: tiny"):
        connect(arguments)


def test_an_endpoint_that_is_not_there_is_explained() -> None:
    arguments = argument_parser("").parse_args(["--base-url", "http://127.0.0.1:9/v1"])

    with pytest.raises(SystemExit, match="kubectl port-forward"):
        connect(arguments)
