"""What the API server would refuse, `render` and `fit` refuse too, in the same words."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from builders import resource_body
from mistral_operator.api import Spec, parse_spec
from mistral_operator.api.crd import resource_schema
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.cli import main
from mistral_operator.kube.names import API_VERSION, KIND
from refused_resources import ACCEPTED, NAME_SENTENCE, NAMES, RULES, SCHEMA, refusal

COMMANDS = [("render", "--server-image=x"), ("fit", "--gpu-memory=81559Mi")]


def document(spec: Any, name: str = "small") -> dict[str, Any]:
    """Return a resource as it stands in a file."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def run(command: tuple[str, ...], manifest: dict[str, Any]) -> Result:
    """Give a file to a command."""
    return CliRunner().invoke(main, [*command, "-f", "-"], input=yaml.safe_dump(manifest))


def messages(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the sentence of every rule in a schema."""
    yield from (one["message"] for one in schema.get("x-kubernetes-validations", ()))
    for inner in schema.get("properties", {}).values():
        yield from messages(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from messages(schema[key])


@pytest.mark.parametrize(("spec", "sentence"), RULES.values(), ids=RULES)
def test_a_rule_of_the_crd_is_one_of_the_models_too(spec: dict[str, Any], sentence: str) -> None:
    (rule,) = {one for one in messages(resource_schema()) if sentence in one}

    assert rule in refusal(spec)


@pytest.mark.parametrize("message", sorted(set(messages(resource_schema()))))
def test_every_rule_of_the_crd_has_a_case_that_the_models_reject(message: str) -> None:
    sentences = [sentence for _, sentence in RULES.values()]
    # Where the message of this rule quotes the value, `SCHEMA` has it.
    sentences += [NAME_SENTENCE, "use the resource's own field where there is one"]

    assert any(one in message for one in sentences)


@pytest.mark.parametrize(("spec", "_", "sentence"), SCHEMA.values(), ids=SCHEMA)
def test_the_models_reject_what_the_schema_rejects(
    spec: dict[str, Any], _: str, sentence: str
) -> None:
    assert sentence in refusal(spec)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_invalid_for_a_service_is_rejected(
    command: tuple[str, ...], name: str
) -> None:
    result = run(command, document({}, name))

    assert result.exit_code == 1
    assert NAME_SENTENCE in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_print_the_message_of_the_rule(command: tuple[str, ...]) -> None:
    result = run(command, document({"engine": {"tensorParallelSize": 3}}))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Error: spec.engine.tensorParallelSize must divide the model's 32 attention heads and"
        " 8 KV heads: write 1, 2, 4 or 8\n"
    )


def test_an_argument_that_has_a_field_is_rejected_with_the_field() -> None:
    message = refusal({"engine": {"extraArgs": ["--seed=1", "--max_num_seqs=4"]}})

    assert message.endswith(
        " set spec.engine.maxSequences instead of --max-num-seqs. Refused: --max_num_seqs=4"
    )


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_what_templates_write_is_accepted_as_by_the_api_server(spec: dict[str, Any]) -> None:
    assert run(COMMANDS[0], document(spec)).exit_code == 0


NULLS = {case: spec for case, spec in ACCEPTED.items() if "null" in case}


@pytest.mark.parametrize("spec", NULLS.values(), ids=NULLS)
def test_null_means_unset(spec: dict[str, Any]) -> None:
    assert parse_manifest(resource_body(spec)).spec == parse_spec(without_nulls(spec))


def without_nulls(value: Any) -> Any:
    """Return a document without its nulls."""
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(one) for key, one in value.items() if one is not None}


def test_fields_that_the_api_server_adds_are_accepted() -> None:
    exported = {**resource_body({}, managedFields=[], labels={}), "status": {"replicas": 1}}

    assert parse_manifest(exported).spec == Spec()


@pytest.mark.parametrize(
    "spec",
    [{"engine": {"contextLenght": 1}}, {"replica": 2}, {"suspend": False, "x": {}}],
    ids=str,
)
def test_the_operator_itself_ignores_unknown_fields(spec: dict[str, Any]) -> None:
    assert parse_spec(spec) == Spec()


@pytest.mark.parametrize("quantity", [2, "2", "2000m"])
def test_a_quantity_in_a_file_may_be_a_number(quantity: object) -> None:
    manifest = resource_body({"pod": {"resources": {"requests": {"cpu": quantity}}}})

    assert parse_manifest(manifest).spec.pod.resources.requests == {"cpu": str(quantity)}
