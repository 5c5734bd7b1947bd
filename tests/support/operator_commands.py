"""Commands of `mistral-operator` that need no cluster, and documents for them."""

from typing import Any

import yaml
from click.testing import CliRunner, Result

from mistral_operator.cli import main
from mistral_operator.kube.names import API_VERSION, KIND

H100 = "81559Mi"


def document(**changes: Any) -> dict[str, Any]:
    """Return a resource as a user writes it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "small"},
        "spec": {},
    } | changes


def run(*arguments: str, documents: tuple[Any, ...] = (), text: str | None = None) -> Result:
    """Run a command; its standard input holds documents, or else a text."""
    standard_input = yaml.safe_dump_all(documents) if text is None else text
    return CliRunner().invoke(main, arguments, input=standard_input)


def rendered(result: Result) -> list[dict[str, Any]]:
    """Return the objects that a command printed."""
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))
