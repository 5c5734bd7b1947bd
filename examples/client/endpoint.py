"""Where the endpoint is and which model it serves: what the programs of this directory share."""

import argparse
import os

from openai import APIConnectionError, OpenAI

DEFAULT_BASE_URL = "http://127.0.0.1:8000/v1"
"""Where `kubectl port-forward service/NAME 8000` puts an endpoint."""

DEFAULT_API_KEY = "EMPTY"
"""The client insists on a key; an endpoint without authentication ignores it."""


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every program takes.

    The API key is a variable only, OPENAI_API_KEY: others can see the arguments of a process.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--base-url",
        default=os.environ.get("OPENAI_BASE_URL", DEFAULT_BASE_URL),
        help="URL of the API; default: OPENAI_BASE_URL, or %(default)s",
    )
    parser.add_argument("--model", help="name of the model; default: the one that is served")
    return parser


def connect(arguments: argparse.Namespace) -> tuple[OpenAI, str]:
    """Return a client of the endpoint and the name of the model to request.

    Raises:
        SystemExit: nothing answers there, or the model is not served; the text says what to do.
    """
    client = OpenAI(
        base_url=arguments.base_url, api_key=os.environ.get("OPENAI_API_KEY", DEFAULT_API_KEY)
    )
    try:
        served = [model.id for model in client.models.list()]
    except APIConnectionError as error:
        raise SystemExit(
            f"No endpoint answers at {arguments.base_url}. Set OPENAI_BASE_URL or --base-url, or"
            " forward a port to it: kubectl port-forward service/NAME 8000"
        ) from error
    model = arguments.model or served[0]
    if model not in served:
        raise SystemExit(f"{model} is not served here; --model can be: {', '.join(served)}")
    return client, model
