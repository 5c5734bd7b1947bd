"""The CRD: fresh, structural, described, and with the defaults of the models."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from mistral_dev.paths import CHECKOUT
from mistral_operator.api.base import ApiModel
from mistral_operator.api.crd import (
    UnsupportedSchema,
    custom_resource_definition,
    resource_schema,
    structural,
)
from mistral_operator.api.patterns import NUMBER_AND_UNIT
from mistral_operator.api.pod import to_kubernetes
from mistral_operator.api.spec import Spec
from mistral_operator.api.yaml_documents import to_yaml
from mistral_operator.kube import names

FILE = CHECKOUT / "crds" / f"{names.PLURAL}.{names.GROUP}.yaml"

Schema = dict[str, Any]


class One(ApiModel):
    """A part."""

    one: int = 1
    """A number."""


class Other(ApiModel):
    """Another part."""

    other: str = ""
    """A text."""


class TwoModels(ApiModel):
    """A choice of two models has no structural schema."""

    choice: One | Other = One()
    """Either."""


class TwoTypes(ApiModel):
    """So has a choice of two types, unless it is marked as int-or-string."""

    choice: int | str = 1
    """Either."""


class Steps(ApiModel):
    """A keyword without a translation."""

    number: Annotated[int, Field(multiple_of=8)] = 8
    """A multiple of eight."""


class Pair(ApiModel):
    """A tuple says its types by position."""

    pair: tuple[int, str] = (1, "")
    """A number and a text."""


class OptionalWithDefault(ApiModel):
    """No null in a CRD: a default could not be unset."""

    maybe: int | None = 5
    """A number, or none."""


class Optional(ApiModel):
    """What a structural schema can say in its own way."""

    maybe: One | None = None
    """A part, or none."""


def version() -> Schema:
    """Return the one version of the CRD."""
    (served,) = custom_resource_definition()["spec"]["versions"]
    result: Schema = served
    return result


def root() -> Schema:
    """Return the schema of the whole resource."""
    result: Schema = version()["schema"]["openAPIV3Schema"]
    return result


def schemas(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield a schema and every schema in it, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from schemas(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas(schema[key], f"{path}[]")


def defaulted(schema: Schema, value: Any) -> Any:
    """Fill in defaults as the API server does: only what is unset, then inside of what is set."""
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    missing = {
        name: part["default"]
        for name, part in properties.items()
        if name not in value and "default" in part
    }
    return {
        name: defaulted(properties.get(name, {}), one) for name, one in {**value, **missing}.items()
    }


def test_the_checked_in_crd_is_generated_from_the_models() -> None:
    assert FILE.read_text() == to_yaml(custom_resource_definition()), "run `make generate`"


def test_the_yaml_has_no_anchors() -> None:
    tokens = yaml.scan(to_yaml(custom_resource_definition()))

    assert [one for one in tokens if isinstance(one, yaml.AnchorToken | yaml.AliasToken)] == []


def test_every_schema_is_structural() -> None:
    for path, schema in schemas(root(), "resource"):
        assert not {"$ref", "$defs", "allOf", "oneOf", "not", "const", "title"} & set(schema), path
        if schema.get("x-kubernetes-int-or-string"):
            assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
            assert "type" not in schema, path
        else:
            assert isinstance(schema.get("type"), str), path
            assert "anyOf" not in schema, path


def test_unknown_fields_are_never_preserved() -> None:
    for path, schema in schemas(root(), "resource"):
        assert schema.get("additionalProperties") is not True, path
        assert "x-kubernetes-preserve-unknown-fields" not in schema, path


def test_every_property_has_a_description_that_ends_like_a_sentence() -> None:
    for path, schema in schemas(root(), "resource"):
        for name, part in schema.get("properties", {}).items():
            assert part.get("description", "").strip(), f"{path}.{name}"
            assert "\n" not in part["description"], f"{path}.{name}"


def test_every_rule_has_a_message() -> None:
    for path, schema in schemas(root(), "resource"):
        for one in schema.get("x-kubernetes-validations", []):
            assert one["rule"], path
            assert len(one["message"]) > 20, path
            # The API server refuses a CRD with longer ones.
            assert len(one["message"]) <= 2048, path


def test_the_api_server_sets_the_defaults_that_the_operator_assumes() -> None:
    spec = root()["properties"]["spec"]

    assert defaulted(spec, {}) == to_kubernetes(Spec())


def test_required_fields_are_fields() -> None:
    for path, schema in schemas(root(), "resource"):
        assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path


@pytest.mark.parametrize(
    "model", [TwoModels, TwoTypes, Steps, Pair, OptionalWithDefault], ids=lambda one: one.__name__
)
def test_an_unsupported_keyword_raises_an_error(model: type[ApiModel]) -> None:
    with pytest.raises(UnsupportedSchema):
        structural(model)


def test_an_optional_object_loses_its_null_and_keeps_its_fields() -> None:
    maybe = structural(Optional)["properties"]["maybe"]

    assert maybe == {
        "type": "object",
        "description": "A part, or none.",
        "properties": {"one": {"type": "integer", "description": "A number.", "default": 1}},
    }


def test_a_description_ends_with_the_default_since_kubectl_explain_shows_none() -> None:
    engine = root()["properties"]["spec"]["properties"]["engine"]["properties"]

    assert engine["gpuMemoryUtilization"]["description"].endswith(
        " may use. Changes restart the pods. Default: 0.9."
    )
    assert engine["contextLength"]["description"].endswith(" Default: auto.")
    assert "Default" not in engine["maxSequences"]["description"].split(": ")[0]


def test_no_message_of_the_api_server_is_a_regular_expression() -> None:
    shown = {
        path: part["pattern"]
        for path, part in schemas(root()["properties"]["spec"], "spec")
        if "pattern" in part
    }

    assert set(shown.values()) == {NUMBER_AND_UNIT}


@pytest.mark.parametrize(
    ("which", "path"),
    [
        ("specReplicasPath", ".spec.replicas"),
        ("statusReplicasPath", ".status.replicas"),
        ("labelSelectorPath", ".status.selector"),
    ],
)
def test_scaling_uses_fields_that_exist(which: str, path: str) -> None:
    scale = version()["subresources"]["scale"]

    assert scale[which] == path
    assert path in field_paths()


def test_printed_columns_are_those_that_the_documentation_shows() -> None:
    columns = version()["additionalPrinterColumns"]
    always = [one["name"] for one in columns if one.get("priority", 0) == 0]
    wide = [one["name"] for one in columns if one.get("priority", 0) > 0]

    assert always == ["Ready", "Reason", "Desired", "Up", "Context", "Age"]
    assert wide == ["Model", "TP", "vLLM", "URL", "Message"]


def test_every_printed_column_shows_a_field_that_exists() -> None:
    paths = field_paths()
    for column in version()["additionalPrinterColumns"]:
        path = column["jsonPath"].replace('[?(@.type=="Ready")]', "[]")
        if not path.startswith(".metadata."):
            assert path in paths, column["name"]


def test_the_names_are_the_public_ones() -> None:
    spec = custom_resource_definition()["spec"]

    assert (spec["group"], spec["scope"]) == ("inference.mistral-small.io", "Namespaced")
    assert spec["names"]["kind"] == "MistralSmallDeployment"
    assert spec["names"]["shortNames"] == ["msd"]
    assert (version()["name"], version()["served"]) == ("v1alpha1", True)
    assert version()["subresources"]["status"] == {}


def field_paths() -> set[str]:
    """Return the path of every field, as JSON paths write it."""
    return {path for path, _ in schemas(root(), "")}


@pytest.mark.parametrize(
    ("path", "restarts"),
    [
        ("engine.temperature", True),
        ("engine.extraArgs", True),
        ("pod.env.items.value", True),
        ("pod.nodeSelector", True),
        ("replicas", False),
        ("rollout.hold", False),
        ("pod.gpu.memory", False),
        ("pod.gpu.resourceName", True),
    ],
)
def test_a_description_says_whether_a_change_restarts_the_pods(path: str, restarts: bool) -> None:
    schema = resource_schema()["properties"]["spec"]
    for part in path.split("."):
        schema = schema["items"] if part == "items" else schema["properties"][part]

    assert ("Changes restart the pods." in schema["description"]) is restarts
